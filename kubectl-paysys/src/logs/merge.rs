//! Many logs as one.
//!
//! Guarantees: lines stand in the order of their times; of each log one line is held at a time.

use futures::{StreamExt, future, stream::BoxStream};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::{failure::Failure, screen::Paint};

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(super) role: String,
    pub(super) pod: String,
    pub(super) at: Option<Timestamp>,
    pub(super) text: String,
}

impl Line {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// The log of a pod.
pub(super) struct Source {
    role: String,
    pod: String,
    lines: BoxStream<'static, std::io::Result<String>>,
}

impl Source {
    pub(super) fn new(
        role: String,
        pod: String,
        lines: BoxStream<'static, std::io::Result<String>>,
    ) -> Self {
        Self { role, pod, lines }
    }

    /// The lines of a log until it ends or breaks off.
    pub(super) fn into_lines(self) -> BoxStream<'static, Line> {
        let Self { role, pod, lines } = self;
        lines
            .take_while(|line| future::ready(line.is_ok()))
            .filter_map(|line| future::ready(line.ok()))
            .map(move |line| parse(&role, &pod, &line))
            .boxed()
    }
}

/// The kubelet puts a time in front of each line.
fn parse(role: &str, pod: &str, line: &str) -> Line {
    let split = line
        .split_once(' ')
        .and_then(|(at, text)| Some((at.parse::<Timestamp>().ok()?, text)));
    let (at, text) = split.map_or((None, line), |(at, text)| (Some(at), text));
    Line {
        role: role.to_owned(),
        pod: pod.to_owned(),
        at,
        text: text.to_owned(),
    }
}

/// Shows the lines of all logs in the order of their times.
pub(super) async fn in_order(
    sources: Vec<Source>,
    mut show: impl FnMut(&Line) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut logs: Vec<_> = sources.into_iter().map(Source::into_lines).collect();
    let mut heads: Vec<Option<Line>> = Vec::with_capacity(logs.len());
    for log in &mut logs {
        heads.push(log.next().await);
    }
    loop {
        let present = heads.iter().enumerate();
        let present = present.filter_map(|(number, head)| Some((head.as_ref()?.at, number)));
        let Some((_, number)) = present.min() else {
            return Ok(());
        };
        if let Some(line) = heads[number].take() {
            show(&line)?;
        }
        heads[number] = logs[number].next().await;
    }
}

/// A line for people: role and pod in front, in a colour of their own.
pub(super) fn render(line: &Line, paint: Paint) -> String {
    let sum = line.pod.bytes().map(usize::from).sum();
    let prefix = format!("{} {}", line.role, line.pod);
    format!("{} | {}\n", paint.hue(sum, &prefix), line.text)
}
