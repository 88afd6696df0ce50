//! `kubectl paysys`: what a payment system does, why it waits, and what an edit would do.
//!
//! Guarantees: reading commands write nothing; exit code 0 means fine, 1 that something is not
//! ready or was found, 2 that the command was wrong or the cluster could not be reached. Each
//! command is one module; what it prints is made by pure functions of its `render`.
//!
//! Deliberately not here: decisions about objects. Those are the operator's own pure functions,
//! so that plan and operator cannot disagree.

mod cluster;
mod differences;
mod failure;
mod logs;
mod plan;
mod reconcile;
mod screen;
mod status;
mod switch;
mod why;

use std::{
    io::{ErrorKind, Write},
    process::ExitCode,
};

use anstream::{AutoStream, ColorChoice};
use clap::{Parser, Subcommand, ValueEnum};

use cluster::Target;
use failure::{Failure, Verdict};
use screen::Paint;
use switch::Act;

/// What a payment system does, why it waits, and what an edit would do.
///
/// Exit codes: 0 fine; 1 not ready, or something was found; 2 wrong usage, or the cluster cannot
/// be reached or refuses.
#[derive(Parser)]
#[command(name = "kubectl-paysys", bin_name = "kubectl paysys", version)]
struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: stable names
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// State, version, conditions, replicas, last reconciliation, next action
    Status(status::Status),
    /// Which object blocks, since when, what its pods and events say, what to do
    Why(why::Why),
    /// What the operator would do about an edit, without doing it
    Plan(plan::Plan),
    /// The logs of all pods of a system as one
    Logs(logs::Logs),
    /// What bills and books disagree about
    Differences(differences::Differences),
    /// One more run of the reconciliation, now
    Reconcile(reconcile::Reconcile),
    /// The operator changes nothing of the system until it is resumed
    Pause(switch::Switch),
    /// The operator keeps the system as specified again
    Resume(switch::Switch),
    /// The pods of the system end, everything else stays
    Stop(switch::Switch),
    /// The pods of a stopped system start again
    Start(switch::Switch),
}

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    format: Format,
    paint: Paint,
    /// Progress goes to standard error, which may be a terminal while the result goes elsewhere.
    progress: Paint,
}

impl Screen {
    fn of(format: Format) -> Self {
        // Knows terminals, NO_COLOR, CLICOLOR and TERM=dumb.
        let paint = |choice| match choice {
            ColorChoice::Never => Paint::Plain,
            _ => Paint::Colours,
        };
        Self {
            format,
            paint: paint(AutoStream::choice(&std::io::stdout())),
            progress: paint(AutoStream::choice(&std::io::stderr())),
        }
    }

    /// Whether the result is read by people.
    pub(crate) fn is_text(self) -> bool {
        self.format == Format::Text
    }

    /// Prints a result: as JSON, or as the text that `render` makes.
    pub(crate) fn show<T: serde::Serialize>(
        self,
        value: &T,
        render: impl FnOnce(&T, Paint) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.print(&render(value, self.paint)),
            Format::Json => {
                self.print(&format!("{}\n", json(serde_json::to_string_pretty(value))?))
            }
        }
    }

    /// Prints one of many results: as a line of JSON, or as the text that `render` makes.
    pub(crate) fn row<T: serde::Serialize>(
        self,
        value: &T,
        render: impl FnOnce(&T, Paint) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.print(&render(value, self.paint)),
            Format::Json => self.print(&format!("{}\n", json(serde_json::to_string(value))?)),
        }
    }

    /// Prints text as it is. That nobody reads on is no failure.
    #[expect(clippy::unused_self, reason = "a screen is where one prints")]
    pub(crate) fn print(self, text: &str) -> Result<(), Failure> {
        let mut to = std::io::stdout().lock();
        match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                let todo = "check where standard output goes";
                Err(Failure::new("cannot print", todo).because(error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Says how far a wait is, beside the result.
    #[expect(clippy::unused_self, reason = "a screen is where one prints")]
    pub(crate) fn progress(self, text: &str) {
        // Without a standard error nobody waits to be told.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// The colours of [`Self::progress`].
    pub(crate) const fn progress_paint(self) -> Paint {
        self.progress
    }
}

fn json(text: serde_json::Result<String>) -> Result<String, Failure> {
    text.map_err(|error| {
        let todo = "report this: it is a fault of the plugin";
        Failure::new("cannot write the result as JSON", todo).because(error.to_string())
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(Failure::new("cannot start", "try again").because(error.to_string())),
    };
    match result {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Trouble) => ExitCode::from(1),
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<Verdict, Failure> {
    let screen = Screen::of(arguments.output);
    let cluster = arguments.target.connect().await?;
    match arguments.command {
        Command::Status(command) => command.run(cluster, screen).await,
        Command::Why(command) => command.run(cluster, screen).await,
        Command::Plan(command) => command.run(cluster, screen).await,
        Command::Logs(command) => command.run(cluster, screen).await,
        Command::Differences(command) => command.run(cluster, screen).await,
        Command::Reconcile(command) => Box::pin(command.run(cluster, screen)).await,
        Command::Pause(command) => command.run(cluster, screen, Act::Pause).await,
        Command::Resume(command) => command.run(cluster, screen, Act::Resume).await,
        Command::Stop(command) => command.run(cluster, screen, Act::Stop).await,
        Command::Start(command) => command.run(cluster, screen, Act::Start).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
