//! Frames, round trips, and whatever else may arrive.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

use super::*;

fn framed(frame: Frame) -> BytesMut {
    let mut out = BytesMut::new();
    FrameCodec.encode(frame, &mut out).expect("fits");
    out
}

#[test]
fn a_frame_s_head_is_laid_out_as_the_protocol_says() {
    let body = Message::GlobalBegin(GlobalBegin {
        timeout_ms: 60_000,
        name: "tx".into(),
    })
    .encode()
    .expect("fits");
    let bytes = framed(Frame::new(FrameKind::Request, 3, body));
    assert_eq!(
        hex::encode(&bytes),
        "dada010000001a001000010000000003".to_owned() + "00010000ea6000027478"
    );
    let heartbeat = framed(Frame::heartbeat(FrameKind::HeartbeatRequest, 9));
    assert_eq!(hex::encode(&heartbeat), "dada0100000010001003010000000009");
}

#[test]
fn a_frame_is_cut_wherever_the_stream_was() {
    let mut frame = Frame::new(FrameKind::Response, -1, Bytes::from_static(b"body"));
    frame.head = vec![
        (Some("k".into()), Some("v".into())),
        (Some(String::new()), None),
    ];
    let bytes = framed(frame.clone());
    for cut in 0..bytes.len() {
        let mut stream = BytesMut::from(&bytes[..cut]);
        assert_eq!(FrameCodec.decode(&mut stream), Ok(None), "cut at {cut}");
        assert_eq!(stream.len(), cut);
        let at_end = FrameCodec.decode_eof(&mut stream);
        assert_eq!(at_end.is_err(), cut > 0, "cut at {cut}");
        stream.extend_from_slice(&bytes[cut..]);
        assert_eq!(FrameCodec.decode(&mut stream), Ok(Some(frame.clone())));
        assert!(stream.is_empty());
    }
}

fn refusal(hexadecimal: &str) -> CodecError {
    let mut stream = BytesMut::from(hex::decode(hexadecimal).expect("hexadecimal").as_slice());
    FrameCodec.decode(&mut stream).expect_err("bad")
}

#[test]
fn a_bad_frame_says_what_is_wrong_with_it() {
    // An HTTP request, on its first two bytes.
    assert_eq!(refusal("4745"), CodecError::Magic { found: 0x4745 });
    assert_eq!(refusal("dada00"), CodecError::Version { found: 0 });
    let long = CodecError::FrameLength { length: 8_388_609 };
    assert_eq!(refusal("dada01008000010010"), long);
    let short = CodecError::FrameLength { length: 15 };
    assert_eq!(refusal("dada010000000f0010"), short);
    let negative = CodecError::FrameLength { length: -1 };
    assert_eq!(refusal("dada01ffffffff0010"), negative);
    let head = CodecError::HeadLength {
        head: 17,
        frame: 16,
    };
    assert_eq!(refusal("dada01000000100011"), head);
    let kind = CodecError::FrameKind { found: 5 };
    assert_eq!(refusal("dada0100000010001005010000000009"), kind);
    let serialiser = CodecError::Serialiser { found: 2 };
    assert_eq!(refusal("dada0100000010001000020000000009"), serialiser);
    let compressor = CodecError::Compressor { found: 7 };
    assert_eq!(refusal("dada0100000010001000010700000009"), compressor);
    let trailing = CodecError::Trailing {
        after: "a heartbeat",
        bytes: 1,
    };
    assert_eq!(refusal("dada01000000110010030100000000090a"), trailing);
    let map = CodecError::Short {
        field: "head key",
        needed: 2,
        left: 1,
    };
    assert_eq!(refusal("dada010000001100110001000000000900"), map);
}

#[test]
fn a_claimed_length_takes_no_memory() {
    let head = hex::decode("dada01007fffff0010").expect("hexadecimal");
    let mut stream = BytesMut::from(head.as_slice());
    assert_eq!(FrameCodec.decode(&mut stream), Ok(None));
    assert!(stream.capacity() < 1024, "{}", stream.capacity());
}

fn bad_body(hexadecimal: &str) -> CodecError {
    let bytes = hex::decode(hexadecimal).expect("hexadecimal");
    Message::decode(bytes.into()).expect_err("bad")
}

#[test]
fn a_bad_body_says_what_is_wrong_with_it() {
    let short = CodecError::Short {
        field: "name",
        needed: 3,
        left: 2,
    };
    assert_eq!(bad_body("00010000ea6000037478"), short);
    let trailing = CodecError::Trailing {
        after: "the message",
        bytes: 1,
    };
    assert_eq!(bad_body("00010000ea600002747800"), trailing);
    let utf8 = CodecError::Utf8 { field: "name" };
    assert_eq!(bad_body("00010000ea600001ff"), utf8);
    let negative = CodecError::NegativeLength {
        field: "name",
        length: -1,
    };
    assert_eq!(bad_body("00010000ea60ffff"), negative);
    assert_eq!(bad_body("00ff"), CodecError::TypeCode { found: 255 });
    assert_eq!(bad_body("000e0200"), CodecError::ResultCode { found: 2 });
    assert_eq!(bad_body("003c000000060001003c0000"), CodecError::Nested);
    let mismatch = CodecError::Mismatch {
        what: "the merged length",
        said: 9,
        found: 2,
    };
    assert_eq!(bad_body("003c000000090000"), mismatch);
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_written() {
    let name = "x".repeat(32_768);
    let message = Message::GlobalBegin(GlobalBegin {
        timeout_ms: 1,
        name,
    });
    assert!(matches!(
        message.encode(),
        Err(CodecError::TooLong { field: "name", .. })
    ));
    let mut out = BytesMut::from("before");
    let body = Bytes::from(vec![0; MAX_FRAME_BYTES]);
    let refused = FrameCodec.encode(Frame::new(FrameKind::Request, 1, body), &mut out);
    assert!(matches!(refused, Err(CodecError::TooLong { .. })));
    assert_eq!(&out[..], b"before");
}

#[test]
fn listed_numbers_are_themselves_and_others_are_kept() {
    for (value, number) in GlobalStatus::LISTED {
        assert_eq!(GlobalStatus::from_number(*number), *value);
    }
    for (value, number) in BranchStatus::LISTED {
        assert_eq!(BranchStatus::from_number(*number), *value);
    }
    for (value, number) in ExceptionCode::LISTED {
        assert_eq!(ExceptionCode::from_number(*number), *value);
    }
    for number in 0..=u8::MAX {
        assert_eq!(GlobalStatus::from_number(number).number(), number);
        assert_eq!(BranchStatus::from_number(number).number(), number);
        assert_eq!(ExceptionCode::from_number(number).number(), number);
    }
    assert_eq!(GlobalStatus::from_number(99), GlobalStatus::Unlisted(99));
}

#[test]
fn exception_codes_above_eighteen_depend_on_the_server() {
    let one = ServerGeneration::of("1.8.0");
    let two = ServerGeneration::of("2.0.0-SNAPSHOT");
    let fail_fast = ExceptionCode::LockKeyConflictFailFast;
    assert_eq!(ExceptionCode::decode(19, one), fail_fast);
    assert_eq!(ExceptionCode::decode(20, two), fail_fast);
    assert_eq!(ExceptionCode::decode(19, two), ExceptionCode::NotRaftLeader);
    for generation in [one, two] {
        let code = ExceptionCode::decode(18, generation);
        assert_eq!(code, ExceptionCode::FailedStore);
    }
    assert_eq!(ServerGeneration::of(""), ServerGeneration::Two);
    for (version, wrong) in [
        ("2.0.0", true),
        ("2.0.0-SNAPSHOT", true),
        ("1.8.0", false),
        ("2.1.0", false),
        ("2.10.0", false),
        ("", false),
    ] {
        assert_eq!(rolls_back_in_wrong_order(version), wrong, "{version}");
    }
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn result_head() -> impl Strategy<Value = ResultHead> {
    (proptest::option::of(text()), any::<u8>())
        .prop_map(|(failure, code)| ResultHead { failure, code })
}

fn single() -> impl Strategy<Value = Message> {
    let branch = || {
        (text(), any::<u8>(), text(), text(), text()).prop_map(
            |(xid, branch_type, resource_id, lock_key, application_data)| BranchRegister {
                xid,
                branch_type,
                resource_id,
                lock_key,
                application_data,
            },
        )
    };
    let register = (text(), text(), text(), text()).prop_map(
        |(version, application_id, tx_service_group, extra_data)| Register {
            version,
            application_id,
            tx_service_group,
            extra_data,
        },
    );
    prop_oneof![
        (register, text()).prop_map(|(it, resources)| Message::RegisterRm(it, resources)),
        (any::<i32>(), text())
            .prop_map(|(timeout_ms, name)| Message::GlobalBegin(GlobalBegin { timeout_ms, name })),
        (result_head(), text(), text()).prop_map(|(result, xid, extra_data)| {
            Message::GlobalBeginResponse(GlobalBegun {
                result,
                xid,
                extra_data,
            })
        }),
        (result_head(), any::<u8>()).prop_map(|(result, status)| {
            Message::GlobalCommitResponse(GlobalEnded {
                result,
                status: GlobalStatus::from_number(status),
            })
        }),
        branch().prop_map(Message::BranchRegister),
        branch().prop_map(Message::GlobalLockQuery),
        (result_head(), any::<i64>()).prop_map(|(result, branch_id)| {
            Message::BranchRegisterResponse(BranchRegistered { result, branch_id })
        }),
        (result_head(), any::<bool>()).prop_map(|(result, lockable)| {
            Message::GlobalLockQueryResponse(LockQueried { result, lockable })
        }),
        (result_head(), text(), any::<i64>(), any::<u8>()).prop_map(
            |(result, xid, branch_id, status)| {
                Message::BranchRollbackResponse(BranchEnded {
                    result,
                    xid,
                    branch_id,
                    status: BranchStatus::from_number(status),
                })
            }
        ),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let several = || proptest::collection::vec((single(), any::<i32>()), 0..5);
    prop_oneof![
        4 => single(),
        1 => several().prop_map(|messages| Message::MergedWarp(Merged { messages })),
        1 => several().prop_map(|messages| Message::BatchResult(Merged { messages })),
        1 => proptest::collection::vec(single(), 0..5).prop_map(Message::MergeResult),
    ]
}

proptest! {
    #[test]
    fn a_message_reads_back_as_it_was_written(message in message(), id: i32) {
        let body = message.encode().unwrap();
        prop_assert_eq!(Message::decode(body.clone()), Ok(message));
        let frame = Frame::new(FrameKind::Request, id, body);
        let mut stream = framed(frame.clone());
        prop_assert_eq!(FrameCodec.decode(&mut stream), Ok(Some(frame)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, code in 0_u8..130) {
        let mut stream = BytesMut::from(bytes.as_slice());
        let _ = FrameCodec.decode_eof(&mut stream);
        let mut body = vec![0, code];
        body.extend_from_slice(&bytes);
        // What is read is written as the same bytes, but for flags that only know 0 and 1.
        if let Ok(message) = Message::decode(body.into()) {
            let again = message.encode().unwrap();
            prop_assert_eq!(Message::decode(again), Ok(message));
        }
    }
}
