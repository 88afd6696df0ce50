use super::*;

fn all(bytes: &[u8]) {
    for parse in [wechat_callback, alipay_callback, wechat_bill, alipay_bill] {
        parse(bytes);
    }
}

#[test]
fn nothing_panics_on_rubbish() {
    for bytes in [
        b"".as_slice(),
        b"{}",
        b"\x1f\x8b",
        b"PK\x03\x04",
        b"a=b&a=c",
        b"sign=%FF&alipay_cert_sn=&trade_status=",
        b"`",
        b",`,`\n`,\n\n`,",
        "\u{feff}总交易单数\n`".as_bytes(),
        "#起始日期：[2026年10月03日\n,\n,,,,".as_bytes(),
        &[0xff; 64],
    ] {
        all(bytes);
    }
}

#[test]
fn nothing_panics_on_random_changes_of_good_input() {
    let good = [
        crate::wechat::fuzzing::SAMPLES.as_slice(),
        crate::alipay::fuzzing::SAMPLES.as_slice(),
    ];
    for text in good.concat() {
        for round in 0..400_usize {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=round % 4 {
                let at = rand::random::<u32>() as usize % bytes.len();
                match rand::random::<u8>() % 4 {
                    0 => bytes[at] = rand::random(),
                    1 => bytes.truncate(at.max(1)),
                    2 => bytes.insert(at, b",`-9\n"[round % 5]),
                    _ => drop(bytes.splice(at..at, *b"-92233720368547758.08")),
                }
            }
            all(&bytes);
        }
    }
}
