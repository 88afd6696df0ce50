//! Who may know what: the edges between the rooms of the workspace, and the crates that a room
//! must not use. The table stands in ARCHITECTURE.md; a new edge is a decision, not an accident.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

struct Room {
    /// The workspace crates it may use.
    knows: &'static [&'static str],
    /// Crates from outside that it must not use, directly.
    never: &'static [&'static str],
}

const PURE: &[&str] = &["tokio", "sqlx", "axum", "kube", "reqwest", "rand", "uuid"];

/// Every room of the workspace, by its folder.
const ROOMS: &[(&str, Room)] = &[
    (
        "crates/contract",
        Room {
            knows: &[],
            never: PURE,
        },
    ),
    (
        "crates/payment-core",
        Room {
            knows: &[],
            never: PURE,
        },
    ),
    (
        "crates/seata-client",
        Room {
            knows: &[],
            never: &["axum", "kube"],
        },
    ),
    (
        "crates/channels",
        Room {
            knows: &["crates/contract", "crates/payment-core"],
            never: &["sqlx", "axum", "kube"],
        },
    ),
    (
        "crds",
        Room {
            knows: &["crates/contract"],
            never: &["sqlx", "axum"],
        },
    ),
    (
        "operator",
        Room {
            knows: &["crates/contract", "crds"],
            never: &["sqlx"],
        },
    ),
    (
        "kubectl-paysys",
        Room {
            knows: &["crates/contract", "crds", "operator"],
            never: &["sqlx", "axum"],
        },
    ),
    (
        "payment-runtime",
        Room {
            knows: &[
                "crates/channels",
                "crates/contract",
                "crates/payment-core",
                "crates/seata-client",
            ],
            never: &["kube", "k8s-openapi"],
        },
    ),
    (
        "channel-simulator",
        Room {
            knows: &["crates/contract"],
            never: &["sqlx", "kube"],
        },
    ),
    (
        "e2e",
        Room {
            knows: &["crates/contract", "crds"],
            never: &["sqlx", "axum"],
        },
    ),
    (
        "simulation",
        Room {
            knows: &[
                "crates/channels",
                "crates/contract",
                "crates/payment-core",
                "payment-runtime",
            ],
            never: &["reqwest", "redis", "kube"],
        },
    ),
    (
        "bench",
        Room {
            knows: &[
                "crates/channels",
                "crates/contract",
                "crates/payment-core",
                "crates/seata-client",
                "crds",
                "e2e",
                "payment-runtime",
            ],
            never: &[],
        },
    ),
];

/// A test may start another room's program, which a room itself must not know.
const TEST_EDGES: &[(&str, &str)] = &[("payment-runtime", "channel-simulator")];

struct Workspace {
    metadata: Metadata,
    /// Folder of each workspace crate by its name.
    folders: BTreeMap<String, String>,
}

impl Workspace {
    fn read() -> Result<Self, cargo_metadata::Error> {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let mut command = MetadataCommand::new();
        let metadata = command.manifest_path(manifest).no_deps().exec()?;
        let folders = metadata
            .workspace_packages()
            .iter()
            .map(|package| (package.name.to_string(), folder(&metadata, package)))
            .collect();
        Ok(Self { metadata, folders })
    }

    /// Every direct dependency as (folder of the room, crate, kind).
    fn dependencies(&self) -> Vec<(&str, &str, DependencyKind)> {
        let packages = self.metadata.workspace_packages();
        let mut all = Vec::new();
        for package in packages {
            let room = self.folders[package.name.as_str()].as_str();
            let edges = package.dependencies.iter();
            all.extend(edges.map(|edge| (room, edge.name.as_str(), edge.kind)));
        }
        all
    }
}

fn folder(metadata: &Metadata, package: &Package) -> String {
    let folder = package
        .manifest_path
        .parent()
        .unwrap_or(&package.manifest_path);
    let inside = folder
        .strip_prefix(&metadata.workspace_root)
        .unwrap_or(folder);
    inside.as_str().replace('\\', "/")
}

fn room(folder: &str) -> Option<&'static Room> {
    ROOMS
        .iter()
        .find(|(known, _)| *known == folder)
        .map(|(_, room)| room)
}

#[test]
fn every_crate_is_a_room_of_the_table() {
    let workspace = Workspace::read().unwrap();
    let strangers: Vec<&String> = workspace
        .folders
        .values()
        .filter(|folder| room(folder).is_none())
        .collect();
    assert!(
        strangers.is_empty(),
        "{strangers:?} is no room of the house: add it to the table 'Who may know what' in \
         ARCHITECTURE.md and to ROOMS here, with what it may know"
    );
}

#[test]
fn no_room_knows_more_than_the_table_allows() {
    let workspace = Workspace::read().unwrap();
    let mut wrong = Vec::new();
    for (from, crate_name, kind) in workspace.dependencies() {
        let Some(to) = workspace.folders.get(crate_name) else {
            continue;
        };
        let allowed = room(from).is_some_and(|room| room.knows.contains(&to.as_str()));
        let for_tests =
            kind == DependencyKind::Development && TEST_EDGES.contains(&(from, to.as_str()));
        if !allowed && !for_tests {
            wrong.push(format!("{from} → {to}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "new edge between rooms: {}. Move what is shared into a room that both may know (usually \
         crates/contract), or change the table 'Who may know what' with an ADR",
        wrong.join(", ")
    );
}

#[test]
fn no_room_uses_a_crate_it_must_not() {
    let workspace = Workspace::read().unwrap();
    let mut wrong = Vec::new();
    for (from, crate_name, kind) in workspace.dependencies() {
        let forbidden = room(from).is_some_and(|room| room.never.contains(&crate_name));
        if forbidden && kind == DependencyKind::Normal {
            wrong.push(format!("{from} → {crate_name}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "forbidden dependency: {}. Do this work in the room that owns it: SQL in payment-runtime's \
         store, HTTP in api and callback, Kubernetes in operator; pure rooms take the clock, \
         randomness and ids as arguments",
        wrong.join(", ")
    );
}

/// A guard that can be switched off must not be in a program that takes money.
#[test]
fn only_the_simulation_can_switch_guards_off() {
    let workspace = Workspace::read().unwrap();
    for package in workspace.metadata.workspace_packages() {
        let folder = &workspace.folders[package.name.as_str()];
        let switches = package.dependencies.iter().any(|edge| {
            edge.features
                .iter()
                .any(|feature| feature == "switchable-guards")
        });
        assert_eq!(
            switches,
            folder == "simulation",
            "{folder}: the feature switchable-guards is the simulation's alone"
        );
        assert!(
            !package
                .dependencies
                .iter()
                .any(|edge| edge.name == "simulation"),
            "{folder} must not be built with the simulation"
        );
    }
}

#[test]
fn the_table_names_no_unknown_room() {
    for (name, room) in ROOMS {
        for known in room.knows {
            assert!(
                self::room(known).is_some(),
                "{name} may know {known}, which is no room"
            );
        }
    }
}
