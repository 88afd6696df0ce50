//! Where the cluster and the demo system are: `.local/env`, written at the end of `make up`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The project's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder with everything that belongs to the running cluster.
pub fn local() -> PathBuf {
    root().join(".local")
}

/// A file of `KEY=VALUE` lines; quotes and `export` are taken off.
pub fn read_settings(file: &Path) -> Result<BTreeMap<String, String>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(parse_settings(&text))
}

fn parse_settings(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(key, value)| {
            let value = value.trim().trim_matches(['"', '\'']);
            (key.trim().to_owned(), value.to_owned())
        })
        .collect()
}

/// A setting of the cluster: the process environment first, then `.local/cluster.env`.
pub fn cluster_setting(key: &str) -> Option<String> {
    std::env::var(key)
        .ok()
        .or_else(|| {
            read_settings(&local().join("cluster.env"))
                .ok()?
                .remove(key)
        })
        .filter(|value| !value.is_empty())
}

/// Addresses of the ports a test or a person talks to, without a final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    pub api: String,
    pub callback: String,
    pub simulator: String,
    pub simulator_admin: String,
    pub orders: String,
}

/// The contents of `.local/env`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    pub kubeconfig: PathBuf,
    pub urls: Urls,
}

impl Environment {
    /// `E2E_ENV` names another file, for a system that `make up` did not make.
    pub fn file() -> PathBuf {
        std::env::var_os("E2E_ENV").map_or_else(|| local().join("env"), PathBuf::from)
    }

    pub fn load() -> Result<Self> {
        let file = Self::file();
        let mut settings =
            read_settings(&file).context("no running system is known here: run `make up` first")?;
        let mut take = |key: &str| {
            settings
                .remove(key)
                .with_context(|| format!("{} lacks {key}: run `make tour` again", file.display()))
        };
        Ok(Self {
            kubeconfig: take("KUBECONFIG")?.into(),
            urls: Urls {
                api: take("PAYMENT_API_URL")?,
                callback: take("CALLBACK_URL")?,
                simulator: take("SIMULATOR_URL")?,
                simulator_admin: take("SIMULATOR_ADMIN_URL")?,
                orders: take("ORDERS_URL")?,
            },
        })
    }

    /// Written under another name first: whoever reads it sees all of it.
    pub fn save(&self) -> Result<()> {
        let file = Self::file();
        let unfinished = file.with_extension("new");
        let context = || format!("cannot write {}", file.display());
        std::fs::create_dir_all(local()).with_context(context)?;
        std::fs::write(&unfinished, self.to_text()).with_context(context)?;
        std::fs::rename(&unfinished, &file).with_context(context)
    }

    fn to_text(&self) -> String {
        let kubeconfig = self.kubeconfig.display().to_string();
        let lines = [
            ("KUBECONFIG", &kubeconfig),
            ("PAYMENT_API_URL", &self.urls.api),
            ("CALLBACK_URL", &self.urls.callback),
            ("SIMULATOR_URL", &self.urls.simulator),
            ("SIMULATOR_ADMIN_URL", &self.urls.simulator_admin),
            ("ORDERS_URL", &self.urls.orders),
        ];
        lines.iter().fold(String::new(), |mut text, (key, value)| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{key}={value}");
            text
        })
    }
}

/// The kubeconfig to use: the one that `make up` chose, else `$KUBECONFIG`, else the user's own.
pub fn kubeconfig() -> Result<PathBuf> {
    let settings = read_settings(&local().join("cluster.env")).unwrap_or_default();
    if let Some(file) = settings.get("KUBECONFIG") {
        return Ok(root().join(file));
    }
    if let Some(file) = std::env::var_os("KUBECONFIG").filter(|file| !file.is_empty()) {
        return std::path::absolute(file).context("KUBECONFIG cannot be made absolute");
    }
    let home = std::env::home_dir().context("neither KUBECONFIG nor a home folder is set")?;
    Ok(home.join(".kube/config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lose_quotes_comments_and_export() {
        let parsed = parse_settings("# x=1\nexport A=\"b c\"\nD='e=f'\n\nnonsense\n");
        let expected = [("A", "b c"), ("D", "e=f")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(parsed, BTreeMap::from(expected));
    }

    #[test]
    fn what_is_saved_can_be_read() {
        let url = |port: u16| format!("http://10.0.0.1:{port}");
        let urls = Urls {
            api: url(1),
            callback: url(2),
            simulator: url(3),
            simulator_admin: url(4),
            orders: url(5),
        };
        let environment = Environment {
            kubeconfig: "/k".into(),
            urls,
        };
        let settings = parse_settings(&environment.to_text());
        assert_eq!(settings["KUBECONFIG"], "/k");
        assert_eq!(settings["SIMULATOR_ADMIN_URL"], url(4));
        assert_eq!(settings.len(), 6);
    }
}
