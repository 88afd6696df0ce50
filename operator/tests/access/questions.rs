//! An authorizer without an opinion: the API server asks it before it asks RBAC, and it remembers
//! what was asked about one user.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

/// May the user do this?
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub group: String,
    /// Such as `paymentsystems/status`.
    pub resource: String,
    pub verb: String,
    /// Empty: in the whole cluster.
    pub namespace: String,
    /// Empty: whatever its name.
    pub name: String,
}

#[derive(Default)]
struct Memory {
    user: String,
    asked: Mutex<BTreeSet<Question>>,
}

pub struct Questions {
    memory: Arc<Memory>,
    directory: TempDir,
    _server: AbortOnDropHandle<()>,
}

impl Questions {
    /// Listens for questions about a user.
    pub async fn listen(user: &str) -> Self {
        let memory = Arc::new(Memory {
            user: user.to_owned(),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route("/", post(answer))
            .with_state(Arc::clone(&memory));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async move { axum::serve(listener, router).await.unwrap() };
        let directory = tempfile::tempdir().unwrap();
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "questions", "cluster": {"server": format!("http://127.0.0.1:{port}/")}}],
            "users": [{"name": "api-server", "user": {}}],
            "contexts": [{"name": "questions", "context": {"cluster": "questions", "user": "api-server"}}],
            "current-context": "questions",
        });
        fs::write(directory.path().join("webhook.json"), config.to_string()).unwrap();
        Self {
            memory,
            directory,
            _server: AbortOnDropHandle::new(tokio::spawn(server)),
        }
    }

    /// What makes an API server ask here, and RBAC decide.
    pub fn arguments(&self) -> Vec<String> {
        let config = self.directory.path().join("webhook.json");
        vec![
            "--authorization-mode=Webhook,RBAC".to_owned(),
            format!("--authorization-webhook-config-file={}", config.display()),
            "--authorization-webhook-version=v1".to_owned(),
        ]
    }

    pub fn asked(&self) -> BTreeSet<Question> {
        let asked = self.memory.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(State(memory): State<Arc<Memory>>, Json(review): Json<Value>) -> Json<Value> {
    let spec = &review["spec"];
    let attributes = &spec["resourceAttributes"];
    // A path that names no resource is everybody's: discovery. Whether the user may do something
    // to everything is asked to save the question that is meant, which follows.
    let precise = attributes.is_object() && attributes["group"] != "*";
    if spec["user"] == memory.user.as_str() && precise {
        let asked = memory.asked.lock();
        asked
            .unwrap_or_else(PoisonError::into_inner)
            .insert(question(attributes));
    }
    Json(json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "status": {"allowed": false},
    }))
}

fn question(attributes: &Value) -> Question {
    let text = |field: &str| attributes[field].as_str().unwrap_or_default().to_owned();
    let resource = match attributes["subresource"].as_str() {
        Some(part) => format!("{}/{part}", text("resource")),
        None => text("resource"),
    };
    Question {
        group: text("group"),
        resource,
        verb: text("verb"),
        namespace: text("namespace"),
        name: text("name"),
    }
}
