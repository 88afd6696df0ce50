//! Writes `crds/yaml/paymentsystems.yaml`.

use std::{fs, path::Path};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml/paymentsystems.yaml");
    fs::write(path, crds::crd_yaml()?)?;
    Ok(())
}
