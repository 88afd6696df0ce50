//! Java's bytes, and what they mean.

use bytes::Bytes;

use super::*;

/// What Java 2.0.0 and 2.6.0 both write: a name and the body in hexadecimal per line.
const GOLDEN: &str = include_str!("../../tests/data/golden-vectors.txt");
const XID: &str = "127.0.0.1:8091:42";
const RESOURCE: &str = "jdbc:mysql://127.0.0.1:3306/db";

fn register() -> Register {
    Register {
        version: "2.0.0".into(),
        application_id: "app".into(),
        tx_service_group: "grp".into(),
        extra_data: String::new(),
    }
}

fn end(extra_data: &str) -> GlobalEnd {
    GlobalEnd {
        xid: XID.into(),
        extra_data: extra_data.into(),
    }
}

fn ended(status: GlobalStatus) -> GlobalEnded {
    GlobalEnded {
        result: ResultHead::success(),
        status,
    }
}

fn begin() -> GlobalBegin {
    GlobalBegin {
        timeout_ms: 60_000,
        name: "tx".into(),
    }
}

fn begun() -> GlobalBegun {
    GlobalBegun {
        result: ResultHead::success(),
        xid: XID.into(),
        extra_data: String::new(),
    }
}

fn branch(lock_key: &str, application_data: &str) -> BranchRegister {
    BranchRegister {
        xid: XID.into(),
        branch_type: 0,
        resource_id: RESOURCE.into(),
        lock_key: lock_key.into(),
        application_data: application_data.into(),
    }
}

fn branch_end(application_data: &str) -> BranchEnd {
    BranchEnd {
        xid: XID.into(),
        branch_id: 7,
        branch_type: 0,
        resource_id: RESOURCE.into(),
        application_data: application_data.into(),
    }
}

fn branch_ended(status: BranchStatus) -> BranchEnded {
    BranchEnded {
        result: ResultHead::success(),
        xid: XID.into(),
        branch_id: 7,
        status,
    }
}

fn registered(identified: bool) -> Registered {
    Registered {
        identified,
        version: "2.0.0".into(),
    }
}

/// What the golden line of that name means.
fn meant(name: &str) -> Message {
    match name {
        "RegisterTMRequest" => Message::RegisterTm(Register {
            extra_data: "ak=1\nvgroup=grp\nip=10.198.0.1\n".into(),
            ..register()
        }),
        "RegisterRMRequest" => Message::RegisterRm(register(), format!("{RESOURCE},{RESOURCE}2")),
        "RegisterTMResponse" => Message::RegisterTmResponse(registered(true)),
        "RegisterTMResponse.fail" => Message::RegisterTmResponse(registered(false)),
        "RegisterRMResponse" => Message::RegisterRmResponse(registered(true)),
        "GlobalBeginRequest" => Message::GlobalBegin(begin()),
        "GlobalBeginResponse" => Message::GlobalBeginResponse(begun()),
        "GlobalBeginResponse.fail" => Message::GlobalBeginResponse(GlobalBegun {
            result: ResultHead {
                failure: Some("no".into()),
                code: 1,
            },
            xid: String::new(),
            extra_data: String::new(),
        }),
        "GlobalCommitRequest" => Message::GlobalCommit(end("")),
        "GlobalCommitResponse" => Message::GlobalCommitResponse(ended(GlobalStatus::Committed)),
        "GlobalRollbackRequest" => Message::GlobalRollback(end("e")),
        "GlobalRollbackResponse" => {
            Message::GlobalRollbackResponse(ended(GlobalStatus::Rollbacked))
        }
        "GlobalStatusRequest" => Message::GlobalStatus(end("")),
        "GlobalStatusResponse" => Message::GlobalStatusResponse(ended(GlobalStatus::Begin)),
        "GlobalReportRequest" => Message::GlobalReport(GlobalReport {
            xid: XID.into(),
            extra_data: String::new(),
            status: GlobalStatus::Committed,
        }),
        "BranchRegisterRequest" => {
            Message::BranchRegister(branch("acct:1,2", r#"{"autoCommit":false}"#))
        }
        "BranchRegisterResponse" => Message::BranchRegisterResponse(BranchRegistered {
            result: ResultHead::success(),
            branch_id: 7,
        }),
        "BranchReportRequest" => Message::BranchReport(BranchReport {
            xid: XID.into(),
            branch_id: 7,
            status: BranchStatus::PhaseOneFailed,
            resource_id: RESOURCE.into(),
            application_data: String::new(),
            branch_type: 1,
        }),
        "BranchReportResponse" => Message::BranchReportResponse(ResultHead::success()),
        "GlobalLockQueryRequest" => Message::GlobalLockQuery(branch("acct:1", "")),
        "GlobalLockQueryResponse" => Message::GlobalLockQueryResponse(LockQueried {
            result: ResultHead::success(),
            lockable: true,
        }),
        "BranchCommitRequest" => Message::BranchCommit(branch_end("d")),
        "BranchCommitResponse" => {
            Message::BranchCommitResponse(branch_ended(BranchStatus::PhaseTwoCommitted))
        }
        "BranchRollbackRequest" => Message::BranchRollback(branch_end("")),
        "BranchRollbackResponse" => {
            Message::BranchRollbackResponse(branch_ended(BranchStatus::PhaseTwoRollbacked))
        }
        "UndoLogDeleteRequest" => Message::UndoLogDelete(UndoLogDelete {
            branch_type: 0,
            resource_id: RESOURCE.into(),
            save_days: 7,
        }),
        "MergedWarpMessage" => Message::MergedWarp(Merged {
            messages: vec![
                (Message::GlobalBegin(begin()), 11),
                (Message::GlobalCommit(end("")), 12),
            ],
        }),
        "MergeResultMessage" => Message::MergeResult(vec![
            Message::GlobalBeginResponse(begun()),
            Message::GlobalCommitResponse(ended(GlobalStatus::Committed)),
        ]),
        "BatchResultMessage" => Message::BatchResult(Merged {
            messages: vec![(Message::GlobalBeginResponse(begun()), 11)],
        }),
        other => panic!("no meaning is written down for {other}"),
    }
}

#[test]
fn java_s_twenty_nine_messages_are_written_and_read_byte_for_byte() {
    let mut seen = 0;
    for line in GOLDEN.lines() {
        let (name, hexadecimal) = line.split_once(' ').expect("a name and bytes");
        let bytes = Bytes::from(hex::decode(hexadecimal).expect("hexadecimal"));
        let message = meant(name);
        assert_eq!(
            Message::decode(bytes.clone()),
            Ok(message.clone()),
            "{name}"
        );
        assert_eq!(message.encode(), Ok(bytes), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 29);
}
