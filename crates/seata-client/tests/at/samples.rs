//! Undo logs of other clients: every file in `tests/data/undo`, whose name says the compression
//! (`anything.json`, `anything.gzip`, `anything.zip`, …), and what Java's clients really wrote, in
//! `tests/data/java-undo`, as pairs of `anything.context` and `anything.info`.

use std::path::{Path, PathBuf};

use seata_client::at::undo::{BranchUndo, Classes, Compression, Context, decode, encode};
use seata_client::at::{Undone, Value};
use seata_client::branch::{Branch, BranchType, Resource as _, Xid};

use crate::world::World;

#[test]
fn every_sample_is_read_and_written_back() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/undo");
    let mut read = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().unwrap().to_str().unwrap().to_uppercase();
        let bytes = std::fs::read(&path).unwrap();
        let compression = match extension.as_str() {
            "JSON" => Compression::None,
            other => {
                let context = format!("serializer=jackson&compressorType={other}");
                Context::parse(&context).unwrap().compression
            }
        };
        let undo = decode(bytes.clone(), compression)
            .unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        assert!(!undo.items.is_empty(), "{}", path.display());
        read += 1;
        if compression != Compression::None {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        let classes = if text.contains("org.apache.seata") {
            Classes::ApacheSeata
        } else {
            Classes::IoSeata
        };
        let (written, _) = encode(&undo, classes).unwrap();
        let written = String::from_utf8(written).unwrap();
        assert_eq!(written, text.trim_end(), "{}", path.display());
    }
    assert!(read >= 2);
}

/// The rows of one log: the main one first, then its parts (`split`, `split.1`, `split.2`).
fn rows(directory: &Path, name: &str) -> (Context, Vec<u8>) {
    let read = |file: String| std::fs::read(directory.join(file));
    let context = String::from_utf8(read(format!("{name}.context")).unwrap()).unwrap();
    let context = Context::parse(context.trim_end()).unwrap();
    let mut info = read(format!("{name}.info")).unwrap();
    for part in 1..=context.sub_ids.len() {
        info.extend(read(format!("{name}.{part}.info")).unwrap());
    }
    (context, info)
}

/// Java escapes what is beyond the first plane as pairs of `\\uD83D\\uDE42`; here it is written out.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\uD") {
        let pair = &rest[at..at + 12];
        let character: String = serde_json::from_str(&format!("\"{pair}\"")).unwrap();
        out += &rest[..at];
        out += &character;
        rest = &rest[at + 12..];
    }
    out + rest
}

fn check_generation(directory: &Path, classes: Classes) -> usize {
    let mut read = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file
            .strip_suffix(".context")
            .filter(|name| !name.contains('.'))
        else {
            continue;
        };
        let (context, info) = rows(directory, name);
        let undo = decode(info.clone(), context.compression)
            .unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert!(!undo.items.is_empty(), "{file}");
        read += 1;
        if context.compression == Compression::None && context.sub_ids.is_empty() {
            let (written, _) = encode(&undo, classes).unwrap();
            let (written, info) = (String::from_utf8(written), String::from_utf8(info));
            assert_eq!(written.unwrap(), unescaped(&info.unwrap()), "{file}");
        }
    }
    read
}

/// Byte for byte what Java wrote, if it is read and written again.
#[test]
fn what_java_wrote_is_read_and_written_as_it_was() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/java-undo");
    for (generation, classes) in [
        ("io.seata", Classes::IoSeata),
        ("org.apache.seata", Classes::ApacheSeata),
    ] {
        assert!(
            check_generation(&data.join(generation), classes) >= 10,
            "{generation}"
        );
    }
}

fn argument(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(n) => n.into(),
            None => n.as_f64().unwrap().into(),
        },
        serde_json::Value::String(text) => text.as_str().into(),
        other => hex::decode(other["hex"].as_str().unwrap()).unwrap().into(),
    }
}

/// The same statement gives the same image as in Java, for every type but one: Java loses a
/// `TIME`'s fraction.
#[tokio::test]
async fn the_image_of_every_type_is_what_java_makes_of_it() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/java-undo");
    let cases = std::fs::read_to_string(data.join("cases.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&cases).unwrap();
    let world = World::new(cases["tables"][0].as_str().unwrap()).await;
    let case = &cases["cases"][0];
    let statement = &case["statements"][0];
    let args: Vec<_> = statement["arguments"]
        .as_array()
        .unwrap()
        .iter()
        .map(argument)
        .collect();
    let xid = world.begin();
    world
        .at
        .execute(&xid, statement["sql"].as_str().unwrap(), &args)
        .await
        .unwrap();
    let info: Vec<u8> = sqlx::query_scalar("SELECT rollback_info FROM undo_log")
        .fetch_one(&world.plain)
        .await
        .unwrap();
    let ours = decode(info, Compression::None).unwrap();
    let (context, info) = rows(&data.join("org.apache.seata"), "insert");
    let java = decode(info, context.compression).unwrap();
    let fields = |undo: &BranchUndo| {
        let mut fields = undo.items[0].after[0].clone();
        fields.retain(|field| field.name != "c_time3");
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        fields
    };
    assert_eq!(fields(&ours), fields(&java));
    world.roll_back(&xid).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM every_type").await, 0);
}

/// A row that Java deleted is put back as it was, from Java's own log of either generation.
#[tokio::test]
async fn what_java_deleted_is_put_back() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/java-undo");
    let cases = std::fs::read_to_string(data.join("cases.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&cases).unwrap();
    let world = World::new(cases["tables"][0].as_str().unwrap()).await;
    for generation in ["io.seata", "org.apache.seata"] {
        let (_, info) = rows(&data.join(generation), "delete");
        let java = decode(info.clone(), Compression::None).unwrap();
        let insert = "INSERT INTO undo_log VALUES \
                      (?, ?, 'compressorType=NONE&serializer=jackson', ?, 0, NOW(6), NOW(6))";
        sqlx::query(insert)
            .bind(java.branch_id)
            .bind(&java.xid)
            .bind(info)
            .execute(&world.plain)
            .await
            .unwrap();
        let resource = world.at.resource();
        let branch = Branch {
            xid: Xid::new(java.xid.clone()),
            branch_id: java.branch_id,
            branch_type: BranchType::At,
            resource_id: resource.resource_id().to_owned(),
            application_data: String::new(),
        };
        assert_eq!(resource.undo(&branch).await.unwrap(), Undone::Rows);
        // What is there now shows in the image of its deletion.
        let xid = world.begin();
        world
            .at
            .execute(&xid, "DELETE FROM every_type", &[])
            .await
            .unwrap();
        let info: Vec<u8> = sqlx::query_scalar("SELECT rollback_info FROM undo_log")
            .fetch_one(&world.plain)
            .await
            .unwrap();
        let ours = decode(info, Compression::None).unwrap();
        let fields = |undo: &BranchUndo| {
            let mut fields = undo.items[0].before[0].clone();
            fields.sort_by(|a, b| a.name.cmp(&b.name));
            fields
        };
        assert_eq!(fields(&ours), fields(&java), "{generation}");
        world.commit(&xid).await;
        world.until("SELECT COUNT(*) FROM undo_log", 0).await;
    }
}
