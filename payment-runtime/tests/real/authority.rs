//! A certificate authority of a test, and directories with certificates as the kubelet mounts them.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate, its private key and who signed it, all PEM.
pub(crate) struct Issued {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, Uuid::new_v4().to_string());
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For these names or addresses, until a year's end.
    pub(crate) fn issue(&self, names: &[&str], last_year: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        params
            .distinguished_name
            .push(DnType::CommonName, "a server of a test");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            authority: self.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A mounted Secret: names are links into `..data`, which is a link to the present generation.
pub(crate) struct Mounted {
    directory: TempDir,
    generations: u32,
}

impl Mounted {
    pub(crate) fn new(issued: &Issued) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            let link = directory.path().join(name);
            std::os::unix::fs::symlink(Path::new("..data").join(name), link).unwrap();
        }
        let mut mounted = Self {
            directory,
            generations: 0,
        };
        mounted.renew(issued);
        mounted
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// All files at once, as the kubelet does it.
    pub(crate) fn renew(&mut self, issued: &Issued) {
        self.generations += 1;
        let generation = format!("..generation-{}", self.generations);
        let files = self.directory.path().join(&generation);
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("ca.crt"), &issued.authority).unwrap();
        std::fs::write(files.join("tls.crt"), &issued.certificate).unwrap();
        std::fs::write(files.join("tls.key"), &issued.key).unwrap();
        let new = self.directory.path().join("..data_tmp");
        std::os::unix::fs::symlink(generation, &new).unwrap();
        std::fs::rename(new, self.directory.path().join("..data")).unwrap();
    }
}
