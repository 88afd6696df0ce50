//! `differences`: what bills and books disagree about, read from the reconciliation service.
//!
//! The service is reached through the API server (its service proxy): no port is opened here, the
//! cluster's own permissions (`get` on `services/proxy`) decide who may look, and reading asks the
//! service for no name. The proxy passes no `Authorization` on, so nobody can act this way: acting
//! stays with the service's page and its API.

mod render;

use clap::{Args, Subcommand};
use contract::ports;
use http::Request;
use http_body_util::{BodyExt, Limited};
use kube::{ResourceExt, client::Body};
use payment_operator::build::names;
use serde_json::Value;

use crate::{
    Screen,
    cluster::Cluster,
    failure::{Failure, Verdict, request},
};

/// The largest answer that is read: a page of 200 lines or a detail of 3,000 is far smaller.
const BODY_BYTES_MAX: usize = 16 << 20;
const PATH: &str = "/api/reconciliation/differences";

#[derive(Args)]
pub(crate) struct Differences {
    /// The system; without it, the only one of the namespace
    #[arg(long, global = true, value_name = "NAME")]
    system: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What is not resolved, or what the filters say; exit code 1 if anything is not resolved
    List(List),
    /// Everything about one difference
    Show {
        /// Its number, as the list shows it
        id: u64,
    },
}

#[derive(Args)]
struct List {
    /// open, waiting, proposed, resolved or all
    #[arg(long)]
    state: Option<String>,
    /// Class, such as amount or missing-with-us (docs/reconciliation.md)
    #[arg(long)]
    class: Option<String>,
    /// wechat or alipay
    #[arg(long)]
    channel: Option<String>,
    /// Day of the bill
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<String>,
    /// Number of an order, payment, refund or transaction
    #[arg(long)]
    number: Option<String>,
    /// Who looks after it
    #[arg(long)]
    assignee: Option<String>,
    /// Lines of a page, 1 to 200
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: Option<u32>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<u64>,
}

impl List {
    fn query(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let cursor = self.cursor.map(|cursor| cursor.to_string());
        let filters = [
            ("state", &self.state),
            ("class", &self.class),
            ("channel", &self.channel),
            ("day", &self.day),
            ("number", &self.number),
            ("assignee", &self.assignee),
            ("limit", &limit),
            ("cursor", &cursor),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in filters {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

impl Differences {
    pub(crate) async fn run(self, cluster: Cluster, screen: Screen) -> Result<Verdict, Failure> {
        let system = cluster.system(self.system.as_deref()).await?.name_any();
        match self.command {
            Command::List(list) => {
                let path = format!("{PATH}?{}", list.query());
                let page = ask(&cluster, &system, &path).await?;
                screen.show(&page, render::list)?;
                let mut all = page["data"].as_array().into_iter().flatten();
                Ok(Verdict::fine_if(all.all(|one| one["state"] == "resolved")))
            }
            Command::Show { id } => {
                let detail = ask(&cluster, &system, &format!("{PATH}/{id}")).await?;
                screen.show(&detail, render::detail)?;
                Ok(Verdict::fine_if(detail["state"] == "resolved"))
            }
        }
    }
}

/// Asks the reconciliation service of a system through the API server.
async fn ask(cluster: &Cluster, system: &str, path: &str) -> Result<Value, Failure> {
    let service = names::reconciliation(system);
    let what = format!(
        "cannot ask Service {service} in namespace {}",
        cluster.namespace
    );
    let uri = format!(
        "/api/v1/namespaces/{}/services/{service}:{}/proxy{path}",
        cluster.namespace,
        ports::HTTP_NAME
    );
    let asked = Request::get(uri).header("accept", "application/json");
    let asked = asked.body(Body::empty()).map_err(|error| {
        Failure::new(what.clone(), "check the name of the system").because(error.to_string())
    })?;
    let answer = cluster
        .client
        .send(asked)
        .await
        .map_err(request(what.clone()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect();
    let body = body
        .await
        .map_err(|error| Failure::new(what.clone(), "try again").because(error.to_string()))?;
    let value: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
    if status.is_success() && !value.is_null() {
        return Ok(value);
    }
    Err(refused(what, status.as_u16(), &value))
}

/// An answer that is none: of the API server, or a problem of the service.
fn refused(what: String, status: u16, value: &Value) -> Failure {
    if value["kind"] == "Status" {
        let message = value["message"].as_str().unwrap_or_default();
        let todo = match status {
            403 => "ask whoever runs the cluster for `get` on `services/proxy` in this namespace",
            _ => {
                "see that the service runs: `kubectl paysys status` shows ReconciliationAvailable; and that a NetworkPolicy lets the API server in (docs/network.md)"
            }
        };
        return Failure::new(what, todo).because(message);
    }
    let said = ["detail", "title"]
        .iter()
        .find_map(|key| value[*key].as_str());
    let said = said.unwrap_or("an answer that is no JSON");
    let todo = "correct the arguments as the answer says; `kubectl paysys logs --role \
                reconciliation` shows what the service saw";
    Failure::new(what, todo).because(format!("{status}, {said}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filters_become_a_query() {
        let list = List {
            state: Some("all".to_owned()),
            class: None,
            channel: Some("wechat".to_owned()),
            day: None,
            number: Some("A 1&2".to_owned()),
            assignee: None,
            limit: Some(10),
            cursor: None,
        };
        assert_eq!(
            list.query(),
            "state=all&channel=wechat&number=A+1%262&limit=10"
        );
    }

    #[test]
    fn who_refused_is_told_apart() {
        let of_server = json!({"kind": "Status", "message": "no endpoints available"});
        let of_service = json!({"title": "Invalid", "detail": "class: one of amount, fee"});
        for (value, words) in [
            (
                of_server,
                "no endpoints available\n  see that the service runs",
            ),
            (
                of_service,
                "422, class: one of amount, fee\n  correct the arguments",
            ),
            (Value::Null, "an answer that is no JSON"),
        ] {
            let text = refused("cannot ask".to_owned(), 422, &value).to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}
