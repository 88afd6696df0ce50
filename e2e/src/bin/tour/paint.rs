//! Colours, where somebody looks at them.

use std::fmt::Display;
use std::io::IsTerminal;

#[derive(Clone, Copy)]
pub(crate) struct Paint {
    coloured: bool,
}

impl Paint {
    pub(crate) fn for_stdout() -> Self {
        Self::new(std::io::stdout().is_terminal())
    }

    pub(crate) fn for_stderr() -> Self {
        Self::new(std::io::stderr().is_terminal())
    }

    fn new(terminal: bool) -> Self {
        Self {
            coloured: terminal && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    fn with(self, code: u8, text: impl Display) -> String {
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    pub(crate) fn title(self, text: &str) -> String {
        self.with(1, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with(2, text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with(32, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with(31, text)
    }
}
