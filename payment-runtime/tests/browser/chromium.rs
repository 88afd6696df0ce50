//! A browser without a window, driven over WebDriver.
//!
//! Guarantees: each visitor has a profile of their own; browser and driver live in a process
//! namespace that ends with the test, however it ends.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// chromedriver and whatever it starts.
pub(crate) struct Driver {
    namespace: Child,
    url: String,
    profiles: tempfile::TempDir,
}

impl Driver {
    pub(crate) fn start() -> Self {
        // Killing the namespace's first process kills every other one in it.
        let mut namespace = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"])
            .args(["chromedriver", "--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver must be installed; e2e/cluster/packages.sh does it");
        let mut said = BufReader::new(namespace.stdout.take().unwrap()).lines();
        let port = said.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // Nobody reads on: it must not wait for a reader.
        std::thread::spawn(move || said.map_while(Result::ok).for_each(drop));
        Self {
            namespace,
            url: format!(
                "http://127.0.0.1:{}",
                port.expect("chromedriver names its port")
            ),
            // Where a killed test may leave something.
            profiles: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        }
    }

    /// A browser of somebody's own.
    pub(crate) async fn visitor(&self, name: &str) -> Visitor {
        let profile = self.profiles.path().join(name);
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--no-first-run".to_owned(),
            "--no-proxy-server".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(serde_json::from_value(capabilities).unwrap())
            .connect(&self.url)
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        let visitor = Visitor {
            session: format!("{}/session/{session}", self.url),
            client,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        visitor.size(1280, 800).await;
        visitor
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.namespace.kill();
        let _ = self.namespace.wait();
    }
}

/// Somebody at a browser.
pub(crate) struct Visitor {
    pub(crate) client: Client,
    session: String,
    http: reqwest::Client,
}

impl Visitor {
    /// What WebDriver's own words cannot say.
    async fn command(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/{path}", self.session);
        let answer = self.http.post(url).json(body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["value"].clone()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.command("goog/cdp/execute", &body).await
    }

    /// A window is never narrower than some hundred pixels; a screen is.
    pub(crate) async fn size(&self, width: u32, height: u32) {
        let screen = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
    }

    /// Types name and token where the browser would ask for them.
    pub(crate) async fn signs_in(&self, root: &str, name: &str, token: &str) {
        let host = root.strip_prefix("http://").unwrap();
        let url = format!("http://{name}:{token}@{host}/reconciliation-sign-in");
        self.client.goto(&url).await.unwrap();
        self.client
            .goto(&format!("{root}/reconciliation"))
            .await
            .unwrap();
        let who = self.text(".who").await;
        assert!(who.contains(name), "{who}");
    }

    /// What the page has there; a failure tells what the page says instead.
    async fn find(&self, what: Locator<'_>) -> Element {
        match self.client.find(what).await {
            Ok(found) => found,
            Err(error) => {
                let address = self.client.current_url().await.unwrap();
                let page = self.client.find(Locator::Css("body")).await.unwrap();
                panic!(
                    "{error}
{address}:
{}",
                    page.text().await.unwrap()
                );
            }
        }
    }

    pub(crate) async fn click(&self, css: &str) {
        self.find(Locator::Css(css)).await.click().await.unwrap();
    }

    /// Clicks what leads to another page, and waits for that page.
    pub(crate) async fn submits(&self, css: &str) {
        self.leaves_by(Locator::Css(css)).await;
    }

    pub(crate) async fn follows(&self, text: &str) {
        self.leaves_by(Locator::LinkText(text)).await;
    }

    /// A click returns before the page that it asks for is there.
    async fn leaves_by(&self, way: Locator<'_>) {
        let found = self.find(way).await;
        let mark = "document.documentElement.dataset.old = ''";
        self.client.execute(mark, Vec::new()).await.unwrap();
        found.click().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.is_elsewhere().await {
            assert!(Instant::now() < deadline, "{way:?} leads nowhere");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Between two pages there is nothing to ask: that is no answer either.
    async fn is_elsewhere(&self) -> bool {
        let script = "return document.readyState === 'complete' \
                      && document.documentElement.dataset.old === undefined";
        let answer = self.client.execute(script, Vec::new()).await;
        answer.is_ok_and(|answer| answer == true)
    }

    pub(crate) async fn types(&self, css: &str, text: &str) {
        let field = self.find(Locator::Css(css)).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub(crate) async fn chooses(&self, css: &str, value: &str) {
        let field = self.find(Locator::Css(css)).await;
        field.select_by_value(value).await.unwrap();
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.find(Locator::Css(css)).await.text().await.unwrap()
    }

    pub(crate) async fn value(&self, css: &str) -> String {
        let field = self.find(Locator::Css(css)).await;
        field.prop("value").await.unwrap().unwrap_or_default()
    }

    pub(crate) async fn link(&self, css: &str) -> String {
        let link = self.find(Locator::Css(css)).await;
        link.attr("href").await.unwrap().unwrap_or_default()
    }

    pub(crate) async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.unwrap().len()
    }

    /// Whether the page is wider than the screen.
    pub(crate) async fn scrolls_sideways(&self) -> bool {
        let script = "return document.documentElement.scrollWidth > window.innerWidth";
        self.client.execute(script, Vec::new()).await.unwrap() == true
    }

    /// The whole page as a picture, for people to look at.
    pub(crate) async fn screenshot(&self, name: &str) {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.devtools("Page.captureScreenshot", whole).await;
        let picture = base64::engine::general_purpose::STANDARD
            .decode(picture["data"].as_str().unwrap())
            .unwrap();
        let directory = screenshots();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.png")), picture).unwrap();
    }

    /// What the console says beside answers that the test asked for by doing something wrong.
    pub(crate) async fn complaints(&self) -> Vec<Value> {
        let log = self.command("se/log", &json!({"type": "browser"})).await;
        let expected = |line: &Value| {
            let text = line["message"].as_str().unwrap_or_default();
            line["source"] == "network"
                && ["status of 401", "status of 409", "status of 422"]
                    .iter()
                    .any(|status| text.contains(status))
        };
        let lines = log.as_array().expect("the log can be read").iter();
        lines.filter(|line| !expected(line)).cloned().collect()
    }
}

fn screenshots() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target =
        target.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")));
    target.join("screenshots")
}
