//! Why a command could not be carried out: what failed, where, and what to do.
//!
//! Every failure means exit code 2. What a command found out is no failure ([`Verdict`]).

use std::fmt;

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// Not ready, or something needs a person.
    Trouble,
}

impl Verdict {
    pub(crate) const fn fine_if(fine: bool) -> Self {
        if fine { Self::Fine } else { Self::Trouble }
    }
}

/// A command that could not be carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    cause: Option<String>,
    todo: String,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: None,
            todo: todo.into(),
        }
    }

    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.what)?;
        if let Some(cause) = &self.cause {
            write!(to, ": {cause}")?;
        }
        write!(to, "\n  {}", self.todo)
    }
}

/// A failed request, by what it was for: `cannot read PaymentSystem demo in namespace payment`.
pub(crate) fn request(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Failure {
    let what = what.into();
    move |error| {
        let todo = advice(&error);
        Failure::new(what, todo).because(cause(&error))
    }
}

/// Why a request failed, in the words of the API server if it answered.
pub(crate) fn cause(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

/// The innermost cause says most; the outermost says where.
fn chain(error: &dyn std::error::Error) -> String {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if causes.last().is_none_or(|outer| !outer.contains(&text)) {
            causes.push(text);
        }
        source = inner.source();
    }
    causes.join(": ")
}

fn advice(error: &kube::Error) -> &'static str {
    let kube::Error::Api(status) = error else {
        return "check that the API server is reachable, and --kubeconfig and --context";
    };
    match status.code {
        401 => "log in to the cluster again: the API server does not know you",
        403 => {
            "ask whoever runs the cluster for this permission (docs/kubectl-paysys.md lists them)"
        }
        404 => "check the name and --namespace; `kubectl paysys status -A` lists every system",
        409 => "somebody changed it at the same time: try again",
        422 => "correct the named field and try again",
        429 | 500.. => "the API server is busy: try again in a moment",
        _ => "read the answer of the API server above",
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn says_what_why_and_what_to_do() {
        let status = Status {
            code: 403,
            message: "secrets is forbidden".to_owned(),
            ..Status::default()
        };
        let failure =
            request("cannot list Secrets in namespace payment")(kube::Error::Api(Box::new(status)));
        assert_eq!(
            failure.to_string(),
            "cannot list Secrets in namespace payment: secrets is forbidden\n  ask whoever runs the \
             cluster for this permission (docs/kubectl-paysys.md lists them)"
        );
    }
}
