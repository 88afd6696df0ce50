use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::at::value::{Date, DateTime, Kind, Time, Value};

fn int(unsigned: bool, size: u8) -> Kind {
    Kind::Int { unsigned, size }
}

fn shanghai() -> TimeZone {
    TimeZone::fixed(jiff::tz::offset(8))
}

fn json(value: &Value, kind: &Kind) -> String {
    serde_json::to_string(&to_undo(value, kind, &shanghai())).unwrap()
}

/// Every type as Java writes it, in both directions.
#[test]
fn values_are_tagged_as_java_tags_them() {
    let text = |text: &str| Value::Text(text.to_owned());
    let decimal = Kind::Decimal {
        precision: 10,
        scale: 4,
    };
    let date = Value::Date(Date::parse("2024-02-03").unwrap());
    let time = |text| Value::Time(Time::parse(text).unwrap());
    let at = |text| Value::DateTime(DateTime::parse(text).unwrap());
    for (value, kind, expected) in [
        (Value::Null, Kind::Text, "null"),
        (Value::Int(7), int(false, 4), "7"),
        (Value::Int(-7), int(false, 1), "-7"),
        (Value::UInt(7), int(true, 4), r#"["java.lang.Long",7]"#),
        (Value::UInt(7), int(true, 3), "7"),
        (Value::Int(7), int(false, 8), r#"["java.lang.Long",7]"#),
        (
            Value::UInt(u64::MAX),
            int(true, 8),
            r#"["java.math.BigInteger",18446744073709551615]"#,
        ),
        (
            Value::Decimal("12.3400".into()),
            decimal,
            r#"["java.math.BigDecimal",12.3400]"#,
        ),
        (Value::Float(1.5), Kind::Float, r#"["java.lang.Float",1.5]"#),
        (Value::Double(1.5), Kind::Double, "1.5"),
        (Value::Double(3.0), Kind::Double, "3.0"),
        (Value::Int(1), Kind::TinyBool, "true"),
        (Value::Int(5), Kind::TinyBool, "5"),
        (Value::UInt(0), Kind::Bit(1), "false"),
        (Value::UInt(0x0abc), Kind::Bit(12), r#"["[B","Crw="]"#),
        (text("a\"b"), Kind::Text, r#""a\"b""#),
        (
            Value::Bytes(vec![0, 255]),
            Kind::Bytes { padded: None },
            r#"["[B","AP8="]"#,
        ),
        (date, Kind::Date, r#"["java.sql.Date",1706889600000]"#),
        (
            time("10:11:12"),
            Kind::Time,
            r#"["java.sql.Time","10:11:12"]"#,
        ),
        (time("-10:11:12"), Kind::Time, r#""-10:11:12""#),
        (
            at("2024-02-03 00:00:00"),
            Kind::DateTime,
            r#"["java.time.LocalDateTime",1706889600000]"#,
        ),
        (
            at("2024-02-03 00:00:01.123456"),
            Kind::DateTime,
            r#"["java.time.LocalDateTime",[1706889601123,123456000]]"#,
        ),
        (
            at("0000-00-00 00:00:00"),
            Kind::DateTime,
            r#""0000-00-00 00:00:00""#,
        ),
        (
            Value::Timestamp(1_706_889_601_123_456),
            Kind::Timestamp,
            r#"["java.sql.Timestamp",[1706889601123,123456000]]"#,
        ),
        (
            Value::Timestamp(0),
            Kind::Timestamp,
            r#""0000-00-00 00:00:00""#,
        ),
        (
            Value::Int(2024),
            Kind::Year,
            r#"["java.sql.Date",1704038400000]"#,
        ),
    ] {
        assert_eq!(json(&value, &kind), expected, "{value:?}");
        let read = UndoValue::read(expected).unwrap();
        assert_eq!(
            from_undo(&read, &kind, &shanghai()),
            Some(value),
            "{expected}"
        );
    }
}

#[test]
fn older_spellings_of_java_are_read() {
    let zone = shanghai();
    let decimal = Kind::Decimal {
        precision: 20,
        scale: 8,
    };
    let bits = Kind::Bit(1);
    let small = Value::Decimal("1E-8".into());
    let at = Value::DateTime(DateTime::parse("2024-02-03 00:00:01").unwrap());
    for (json, kind, expected) in [
        (r#"["java.math.BigDecimal",1E-8]"#, &decimal, small),
        (
            r#"["java.sql.Timestamp",1706889601000]"#,
            &Kind::DateTime,
            at.clone(),
        ),
        (
            r#"["java.sql.Timestamp",[1706889601000,0]]"#,
            &Kind::DateTime,
            at,
        ),
        (r#"["[B","AQ=="]"#, &bits, Value::UInt(1)),
        (r#"["java.lang.Integer",3]"#, &int(false, 4), Value::Int(3)),
        (
            r#"["javax.sql.rowset.serial.SerialBlob","AQ=="]"#,
            &Kind::Bytes { padded: None },
            Value::Bytes(vec![1]),
        ),
    ] {
        let read = UndoValue::read(json).unwrap();
        assert_eq!(from_undo(&read, kind, &zone), Some(expected), "{json}");
    }
    for json in [
        r#"["java.lang.Runtime",1]"#,
        r#"["[B","?"]"#,
        "{}",
        r#"["a"]"#,
        "[1,2,3]",
    ] {
        assert!(UndoValue::read(json).is_err(), "{json}");
    }
}

#[test]
fn wall_times_that_a_zone_skips_or_repeats_come_back() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    for (text, is_text) in [
        ("2024-03-31 02:30:00", true),
        ("2024-10-27 02:30:00", false),
    ] {
        let value = Value::DateTime(DateTime::parse(text).unwrap());
        let written = to_undo(&value, &Kind::DateTime, &zone);
        assert_eq!(matches!(written, UndoValue::Text(_)), is_text, "{text}");
        assert_eq!(from_undo(&written, &Kind::DateTime, &zone), Some(value));
    }
}

fn field(name: &str, primary: bool, jdbc: i32, value: UndoValue) -> UndoField {
    UndoField {
        name: name.to_owned(),
        primary,
        jdbc,
        value,
    }
}

fn sample() -> BranchUndo {
    let row = |n: &str, name: &str| {
        vec![
            field("id", true, 4, UndoValue::Number(n.to_owned())),
            field("name", false, 12, UndoValue::Text(name.to_owned())),
        ]
    };
    let item = |sql_type: &str, before, after| SqlUndo {
        sql_type: sql_type.to_owned(),
        table: "product".to_owned(),
        before,
        after,
    };
    BranchUndo {
        xid: "192.168.0.7:8091:11".to_owned(),
        branch_id: 12,
        items: vec![
            item("UPDATE", vec![row("1", "TXC")], vec![row("1", "GTS")]),
            item("INSERT", vec![], vec![row("2", "new")]),
        ],
    }
}

/// The whole log, letter by letter.
#[test]
fn a_log_is_written_as_java_writes_it() {
    let expected = concat!(
        r#"{"@class":"io.seata.rm.datasource.undo.BranchUndoLog","xid":"192.168.0.7:8091:11","#,
        r#""branchId":12,"sqlUndoLogs":["java.util.ArrayList",[{"#,
        r#""@class":"io.seata.rm.datasource.undo.SQLUndoLog","sqlType":"UPDATE","#,
        r#""tableName":"product","beforeImage":{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.TableRecords","tableName":"product","#,
        r#""rows":["java.util.ArrayList",[{"@class":"io.seata.rm.datasource.sql.struct.Row","#,
        r#""fields":["java.util.ArrayList",[{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.Field","name":"id","#,
        r#""keyType":"PRIMARY_KEY","type":4,"value":1},{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.Field","name":"name","#,
        r#""keyType":"NULL","type":12,"value":"TXC"}]]}]]},"afterImage":{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.TableRecords","tableName":"product","#,
        r#""rows":["java.util.ArrayList",[{"@class":"io.seata.rm.datasource.sql.struct.Row","#,
        r#""fields":["java.util.ArrayList",[{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.Field","name":"id","#,
        r#""keyType":"PRIMARY_KEY","type":4,"value":1},{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.Field","name":"name","#,
        r#""keyType":"NULL","type":12,"value":"GTS"}]]}]]}},{"#,
        r#""@class":"io.seata.rm.datasource.undo.SQLUndoLog","sqlType":"INSERT","#,
        r#""tableName":"product","beforeImage":{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.TableRecords$EmptyTableRecords","#,
        r#""tableName":"product","rows":["java.util.ArrayList",[]]},"afterImage":{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.TableRecords","tableName":"product","#,
        r#""rows":["java.util.ArrayList",[{"@class":"io.seata.rm.datasource.sql.struct.Row","#,
        r#""fields":["java.util.ArrayList",[{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.Field","name":"id","#,
        r#""keyType":"PRIMARY_KEY","type":4,"value":2},{"#,
        r#""@class":"io.seata.rm.datasource.sql.struct.Field","name":"name","#,
        r#""keyType":"NULL","type":12,"value":"new"}]]}]]}}]]}"#,
    );
    let (bytes, compression) = encode(&sample(), Classes::IoSeata).unwrap();
    assert_eq!(compression, Compression::None);
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
    assert_eq!(decode(bytes, compression).unwrap(), sample());
}

#[test]
fn both_generations_are_read_and_strangers_refused() {
    let (bytes, _) = encode(&sample(), Classes::ApacheSeata).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains("org.apache.seata.rm.datasource.undo.BranchUndoLog"));
    assert_eq!(decode(bytes, Compression::None).unwrap(), sample());
    let strange = text.replace("org.apache.seata.rm.datasource.undo.SQL", "com.example.SQL");
    assert!(decode(strange.into_bytes(), Compression::None).is_err());
    assert!(decode(b"{}".to_vec(), Compression::None).is_err());
}

#[test]
fn large_logs_are_compressed() {
    let mut large = sample();
    large.items = vec![large.items[0].clone(); 200];
    let (bytes, compression) = encode(&large, Classes::ApacheSeata).unwrap();
    assert_eq!(compression, Compression::Gzip);
    assert!(bytes.len() < 64 * 1024);
    assert_eq!(decode(bytes, compression).unwrap(), large);
}

#[test]
fn contexts_are_read_in_any_order() {
    let context = Context::parse("compressorType=ZIP&subId=3,4,&serializer=jackson&map=1048576");
    let expected = Context {
        compression: Compression::Zip,
        sub_ids: vec![3, 4],
        part_of: None,
        packet: Some(1_048_576),
    };
    assert_eq!(context.unwrap(), expected);
    assert_eq!(Context::parse(&expected.to_string()).unwrap(), expected);
    let plain = Context::default();
    assert_eq!(plain.to_string(), "serializer=jackson&compressorType=NONE");
    assert_eq!(Context::parse(&plain.to_string()).unwrap(), plain);
    assert_eq!(Context::parse("branchId=12").unwrap().part_of, Some(12));
    for bad in [
        "",
        "serializer=kryo",
        "serializer=jackson&compressorType=X",
        "branchId=x",
    ] {
        assert!(Context::parse(bad).is_err(), "{bad}");
    }
}

fn any_value() -> impl Strategy<Value = (Value, Kind)> {
    let date = (0_u16..10_000, 0_u8..13, 0_u8..32).prop_map(|(year, month, day)| Date {
        year,
        month,
        day,
    });
    let clock = (0_u8..24, 0_u8..60, 0_u8..60, 0_u32..1_000_000);
    let date_time = (date.clone(), clock).prop_map(|(date, (hour, minute, second, micros))| {
        Value::DateTime(DateTime {
            date,
            hour,
            minute,
            second,
            micros,
        })
    });
    let span = (
        any::<bool>(),
        0_u32..839,
        0_u8..60,
        0_u8..60,
        prop_oneof![Just(0), 0_u32..1_000_000],
    );
    let time = span.prop_map(|(negative, hours, minutes, seconds, micros)| {
        Value::Time(Time {
            negative,
            hours,
            minutes,
            seconds,
            micros,
        })
    });
    let decimal = "-?(0|[1-9][0-9]{0,29})\\.[0-9]{4}".prop_map(Value::Decimal);
    prop_oneof![
        any::<i64>().prop_map(|n| (Value::Int(n), int(false, 8))),
        any::<u64>().prop_map(|n| (Value::UInt(n), int(true, 8))),
        any::<u32>().prop_map(|n| (Value::UInt(n.into()), int(true, 4))),
        any::<i32>().prop_map(|n| (Value::Int(n.into()), int(false, 4))),
        any::<i8>().prop_map(|n| (Value::Int(n.into()), Kind::TinyBool)),
        any::<u64>().prop_map(|n| (Value::UInt(n), Kind::Bit(64))),
        any::<u8>().prop_map(|n| (Value::UInt(u64::from(n & 1)), Kind::Bit(1))),
        (1901_i64..2156).prop_map(|n| (Value::Int(n), Kind::Year)),
        decimal.prop_map(|v| (
            v,
            Kind::Decimal {
                precision: 34,
                scale: 4
            }
        )),
        proptest::num::f32::NORMAL.prop_map(|n| (Value::Float(n), Kind::Float)),
        proptest::num::f64::NORMAL.prop_map(|n| (Value::Double(n), Kind::Double)),
        any::<String>().prop_map(|v| (Value::Text(v), Kind::Text)),
        any::<Vec<u8>>().prop_map(|v| (Value::Bytes(v), Kind::Bytes { padded: None })),
        date.prop_map(|v| (Value::Date(v), Kind::Date)),
        date_time.prop_map(|v| (v, Kind::DateTime)),
        time.prop_map(|v| (v, Kind::Time)),
        (1_i64..=i64::from(i32::MAX) * 1_000_000)
            .prop_map(|n| (Value::Timestamp(n), Kind::Timestamp)),
        Just((Value::Null, Kind::Date)),
    ]
}

proptest! {
    #[test]
    fn every_value_comes_back_from_a_log((value, kind) in any_value(), hours in -12_i8..14) {
        // One zone skips and repeats an hour each year.
        let zone = match hours {
            0 => TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
            _ => TimeZone::fixed(jiff::tz::offset(hours)),
        };
        let written = to_undo(&value, &kind, &zone);
        let read = UndoValue::read(&serde_json::to_string(&written).unwrap()).unwrap();
        prop_assert_eq!(from_undo(&read, &kind, &zone), Some(value));
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>(), text in "[\\[\\]{}\":,a-z@0-9.-]{0,40}") {
        let _ = decode(bytes, Compression::None);
        let _ = UndoValue::read(&text);
        let _ = Context::parse(&text);
    }
}
