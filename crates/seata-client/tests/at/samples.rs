//! Undo logs of other clients: every file in `tests/data/undo`.
//!
//! The name says the compression: `anything.json`, `anything.gzip`, `anything.zip`, …

use std::path::PathBuf;

use seata_client::at::undo::{Classes, Compression, Context, decode, encode};

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
