//! MariaDB in MySQL's place: `MARIADB_ROOTFS` is a root file system with the unpacked packages
//! mariadb-server-core, libaio1, libnuma1 and liburing2.

use std::path::Path;
use std::process::Command;

use super::process::bound;

/// A new MariaDB's data, and the command that serves it.
pub(super) fn prepare(usr: &Path, data: &Path) -> Command {
    let share = usr.join("share/mysql");
    let directory = data.join("data");
    std::fs::create_dir(&directory).unwrap();
    let with_arguments = |command: &mut Command| {
        command
            .env("LD_LIBRARY_PATH", usr.join("lib/x86_64-linux-gnu"))
            .arg("--no-defaults")
            .arg(format!("--basedir={}", usr.display()))
            .arg(format!("--datadir={}", directory.display()))
            .arg(format!("--lc-messages-dir={}", share.display()))
            .args(["--user=root", "--log-warnings=0"]);
    };
    let mut sql = "CREATE DATABASE mysql;\nUSE mysql;\n".to_owned();
    for file in ["mysql_system_tables.sql", "mysql_system_tables_data.sql"] {
        sql += &std::fs::read_to_string(share.join(file)).unwrap();
    }
    let script = data.join("system.sql");
    std::fs::write(&script, sql).unwrap();
    let program = usr.join("sbin/mariadbd");
    let mut initialize = Command::new(&program);
    with_arguments(&mut initialize);
    let input = std::fs::File::open(script).unwrap();
    let done = initialize.arg("--bootstrap").stdin(input).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let mut server = bound(&program);
    with_arguments(&mut server);
    server
}
