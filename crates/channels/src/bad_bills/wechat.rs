//! Bad bills of WeChat Pay. The good one's lines: header, three rows, summary header, summary.

use jiff::ToSpan as _;
use jiff::civil::Date;
use payment_core::ChannelKind;

use super::pack::{gbk, gzip, sha1, zip};
use super::{BadBill, Change, GoodRow, some_rows, writer};

// One case a line.
#[rustfmt::skip]
const CHANGES: [Change; 44] = [
    ("a face amount is not in the total", "`99.99,`0.00,`\r", "`99.98,`0.00,`\r", "totals-differ", "line 6, column 订单总金额"),
    ("a settled amount is not in the total", "`CNY,`90.00", "`CNY,`90.01", "totals-differ", "column 应结订单总金额"),
    ("a settled refund is not in the total", "`RBAD0001,`10.00", "`RBAD0001,`10.01", "totals-differ", "column 退款总金额"),
    ("a refund's face amount is not in the total", "`0.00,`10.00,`\r", "`0.00,`10.01,`\r", "totals-differ", "column 申请退款总金额"),
    ("a coupon's refund is not in the total", "`RBAD0001,`10.00,`0.00", "`RBAD0001,`10.00,`1.00", "totals-differ", "column 充值券退款总金额"),
    ("a fee is not in the total", "`0.00006", "`0.00007", "totals-differ", "column 手续费总金额"),
    ("the summary counts a row more", "`3,`90.01", "`4,`90.01", "totals-differ", "line 6, column 总交易单数"),
    ("the summary counts in words", "`3,`90.01", "`three,`90.01", "totals-differ", "column 总交易单数"),
    ("a payment is called a refund", "`SUCCESS,`OTHERS,`CNY,`0.01", "`REFUND,`OTHERS,`CNY,`0.01", "totals-differ", "line 6"),
    ("an unknown state", "`SUCCESS,`OTHERS,`CNY,`0.01", "`NEW,`OTHERS,`CNY,`0.01", "row-malformed", "line 3, column 交易状态"),
    ("an unknown currency", "`CNY,`0.01", "`YUAN,`0.01", "row-malformed", "line 3, column 货币种类"),
    ("an amount with an exponent", "`0.00006", "`6e-5", "row-malformed", "line 3, column 手续费"),
    ("a fee with six decimals", "`0.00006", "`0.000061", "row-malformed", "line 3, column 手续费"),
    ("no fee", "`0.00006", "`", "row-malformed", "line 3, column 手续费"),
    ("an amount with three decimals", "`99.99,`0.00,`\r", "`99.999,`0.00,`\r", "row-malformed", "line 2, column 订单金额"),
    ("a negative amount", "`CNY,`90.00", "`CNY,`-90.00", "row-malformed", "line 2, column 应结订单金额"),
    ("an amount larger than any", "`99.99,`0.00,`\r", "`99999999999999999999,`0.00,`\r", "row-malformed", "line 2, column 订单金额"),
    ("an amount with separated thousands", "`99.99,`0.00,`\r", "`1,099.99,`0.00,`\r", "row-malformed", "line 2, column 订单金额"),
    ("an amount in wide digits", "`0.01,`0.00,`\r", "`０.01,`0.00,`\r", "row-malformed", "line 3, column 订单金额"),
    ("an amount with a currency sign", "`0.01,`0.00,`\r", "`¥0.01,`0.00,`\r", "row-malformed", "line 3, column 订单金额"),
    ("sums beyond all bounds", "`99.99,`0.00,`\r", "`92233720368547.75,`0.00,`\r", "row-malformed", "the file"),
    ("a day without a time", " 11:00:00", "", "row-malformed", "line 3, column 交易时间"),
    ("an hour that is none", " 11:00:00", " 25:00:00", "row-malformed", "line 3, column 交易时间"),
    ("no number of the channel", "`42PBAD0002,", "`,", "row-malformed", "line 3, column 微信订单号"),
    ("a row with a field less", "`oUpF8uMuAJO,`NATIVE", "`oUpF8uMuAJO", "row-malformed", "line 2"),
    ("a row with a field more", "茶, 绿茶", "茶,`绿茶", "row-malformed", "line 2"),
    ("a line end in a name", "茶, 绿茶", "茶\r\n绿茶", "row-malformed", "line 2"),
    ("a line that is nothing", "\r\n总交易单数", "\r\n-- end --\r\n总交易单数", "row-malformed", "line 5"),
    ("a column has another name", "商户订单号", "商户单号", "column-missing", "line 1, column 商户订单号"),
    ("the column of time is missing", "交易时间", "时间", "column-missing", "line 1, column 交易时间"),
    ("a column stands twice", "设备号", "手续费", "repeated-column", "line 1, column 手续费"),
    ("a refund without its column", "商户退款单号", "退款单", "column-missing", "line 4, column 商户退款单号"),
    ("no columns of the refund's settlement", ",退款金额,充值券退款金额", ",退,充", "totals-differ", "column 退款总金额"),
    ("the summary does not count", "总交易单数", "总单数", "column-missing", "line 5, column 总交易单数"),
    ("a total stands twice", "总金额,退款总金额", "总金额,应结订单总金额", "repeated-column", "line 5, column 应结订单总金额"),
    ("the summary has a field less", "`3,`90.01", "`3", "summary-malformed", "line 6"),
    ("a total is no amount", "`0.54000,`", "`about 0.54,`", "summary-malformed", "line 6, column 手续费总金额"),
    ("the header of another bill", "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号", "记账时间,业务单号,单号,业务,类型,收支,金额", "no-header", "line 1"),
    ("an amount in another currency with too many decimals", "`CNY,`0.01", "`JPY,`0.01", "row-malformed", "line 3, column 应结订单金额"),
    ("the mark of the values is gone", "`", "", "row-malformed", "line 2"),
    ("a space in an amount", "`0.00006", "`0.000 06", "row-malformed", "line 3, column 手续费"),
    ("a plus before an amount", "`0.00006", "`+0.00006", "row-malformed", "line 3, column 手续费"),
    ("a time with a zone", " 11:00:00", "T11:00:00+08:00", "row-malformed", "line 3, column 交易时间"),
    ("a month that is none", "-", "-99-", "row-malformed", "line 2, column 交易时间"),
];

pub(super) fn bad_bills(day: Date) -> Vec<BadBill> {
    let text = text(some_rows(day));
    let mut all = Vec::new();
    for (name, from, to, reason, place) in CHANGES {
        let changed = text.replacen(from, to, 1);
        all.push(of_text(name, &changed, reason, place));
    }
    all.extend(built(day, &text));
    all.extend(cut(&text));
    all.extend(packed(&text));
    all.extend(encoded(&text));
    all.extend(no_bills());
    all.extend(oversized(&text));
    all
}

fn text(rows: Vec<GoodRow>) -> String {
    let mut bytes = Vec::new();
    let _ = writer::wechat(rows.into_iter(), &mut bytes);
    String::from_utf8(bytes).unwrap_or_default()
}

fn of_text(
    name: &str,
    text: impl AsRef<[u8]>,
    reason: &'static str,
    place: &'static str,
) -> BadBill {
    let text = text.as_ref();
    of_file(name, gzip(text), sha1(text), reason, place)
}

fn of_file(
    name: &str,
    bytes: Vec<u8>,
    hash: String,
    reason: &'static str,
    place: &'static str,
) -> BadBill {
    BadBill {
        name: format!("wechat: {name}"),
        kind: ChannelKind::Wechat,
        bytes,
        hash: Some(hash),
        reason,
        place,
    }
}

/// Lines missing, repeated and out of place, and rows of other days.
#[rustfmt::skip]
fn built(day: Date, good: &str) -> Vec<BadBill> {
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let of = |numbers: &[usize]| -> String { numbers.iter().map(|at| lines[at - 1]).collect() };
    let long = "9".repeat(200);
    let before = day.checked_sub(2.days()).unwrap_or(day);
    let yesterday = day.yesterday().unwrap_or(day);
    let many = (0..20).map(|n| GoodRow::payment(format!("P{n}"), 1, yesterday.at(9, 0, 0, 0)));
    vec![
        of_text("a row is missing", of(&[1, 2, 4, 5, 6]), "totals-differ", "column 总交易单数"),
        of_text("a row stands twice", of(&[1, 2, 2, 3, 4, 5, 6]), "totals-differ", "column 总交易单数"),
        of_text("the header is missing", of(&[2, 3, 4, 5, 6]), "no-header", "line 1"),
        of_text("the header stands twice", of(&[1, 1, 2, 3, 4, 5, 6]), "repeated", "line 2"),
        of_text("the header stands among the rows", of(&[1, 2, 1, 3, 4, 5, 6]), "repeated", "line 3"),
        of_text("the summary stands twice", of(&[1, 2, 3, 4, 5, 6, 5, 6]), "repeated", "line 7"),
        of_text("the summary's row stands twice", of(&[1, 2, 3, 4, 5, 6, 6]), "repeated", "line 7"),
        of_text("a row after the summary", of(&[1, 2, 3, 4, 5, 6, 3]), "repeated", "line 7"),
        of_text("the file twice", of(&[1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]), "repeated", "line 7"),
        of_text("the summary before the rows", of(&[1, 5, 6, 2, 3, 4]), "repeated", "line 4"),
        of_text("an order's number beyond all bounds", good.replacen("PBAD0002,", &format!("{long},"), 1), "row-malformed", "line 3, column 微信订单号"),
        of_text("a refund's number beyond all bounds", good.replacen("RBAD0001", &long, 1), "row-malformed", "line 4, column 商户退款单号"),
        of_text("all rows are of the day before yesterday", text(some_rows(before)), "another-day", "the file"),
        of_text("many rows, all of yesterday", text(many.collect()), "another-day", "the file"),
    ]
}

/// Cut off, each with the hash of what is left.
#[rustfmt::skip]
fn cut(good: &str) -> Vec<BadBill> {
    let upto = |end: &str| good.find(end).map_or("", |at| &good[..at]);
    let name = good.find("绿").unwrap_or_default();
    vec![
        of_text("cut off after the header", upto("`"), "cut-off", "line 1"),
        of_text("cut off in the header", upto("公众账号ID"), "cut-off", "line 1"),
        of_text("cut off in a row", upto("`42PBAD0002"), "cut-off", "line 3"),
        of_text("cut off in an amount", upto("99,`0.00,`\r"), "cut-off", "line 2"),
        of_text("cut off in a character", &good.as_bytes()[..=name], "cut-off", "line 2"),
        of_text("cut off before the summary", upto("总交易单数"), "cut-off", "line 4"),
        of_text("cut off in the summary's header", upto("手续费总金额"), "cut-off", "line 5"),
        of_text("cut off before the summary's row", upto("`3,`90.01"), "cut-off", "line 5"),
        of_text("cut off in the summary's row", upto(",`0.54000,`"), "cut-off", "line 6"),
    ]
}

/// What is wrong with the packing or the hash.
#[rustfmt::skip]
fn packed(good: &str) -> Vec<BadBill> {
    let (file, hash) = (gzip(good.as_bytes()), sha1(good.as_bytes()));
    let half = &good.as_bytes()[..good.len() / 2];
    let changed = |at: usize| {
        let mut file = file.clone();
        file[at] ^= 0x55;
        file
    };
    let twice = [file.clone(), file.clone()].concat();
    let of = |name: &str, bytes: &[u8], reason, place| {
        of_file(name, bytes.to_vec(), hash.clone(), reason, place)
    };
    let size = file.len();
    vec![
        of("the gzip is cut in half", &file[..size / 2], "cut-off", "after line"),
        of("the gzip is cut in its header", &file[..5], "cut-off", "after line 0"),
        of("the gzip lacks its end", &file[..size - 3], "cut-off", "after line"),
        of("the gzip's checksum is wrong", &changed(size - 8), "damaged", "after line"),
        of("the gzip's length is wrong", &changed(size - 2), "damaged", "after line"),
        of("the gzip's method is unknown", &changed(2), "damaged", "after line 0"),
        of("something follows the gzip", &[&file, b"more of it".as_slice()].concat(), "damaged", "after line"),
        of("the gzip twice", &twice, "wrong-hash", "line 7"),
        of_file("the gzip twice, and hashed so", twice, sha1(good.repeat(2).as_bytes()), "repeated", "line 7"),
        of_file("the hash of another file", file.clone(), sha1(b"another"), "wrong-hash", "the file"),
        of_file("the hash of the packed file", file.clone(), sha1(&file), "wrong-hash", "the file"),
        of_file("an empty hash", file.clone(), String::new(), "wrong-hash", "the file"),
        of("half of the file, announced whole", half, "wrong-hash", "the file"),
        of("an amount changed on its way", &gzip(good.replacen("`99.99,`0.00,`\r", "`99.98,`0.00,`\r", 1) .as_bytes()), "wrong-hash", "the file"),
        of("line ends changed on their way", good.replace('\r', "").as_bytes(), "wrong-hash", "the file"),
        of("packed twice", &gzip(&file), "wrong-encoding", "line 1").with_hash(sha1(&file)),
        of("packed as a ZIP", &zip(&[("bill.csv", good.as_bytes().to_vec())]), "unknown-format", "the file"),
    ]
}

impl BadBill {
    fn with_hash(self, hash: String) -> Self {
        Self {
            hash: Some(hash),
            ..self
        }
    }
}

#[rustfmt::skip]
fn encoded(good: &str) -> Vec<BadBill> {
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = good
        .find("茶\u{0},")
        .or(good.rfind("茶"))
        .unwrap_or_default();
    let mut wrong = good.as_bytes().to_vec();
    wrong[at] = 0xff;
    vec![
        of_text("saved as GBK", gbk(good.trim_start_matches('\u{feff}')), "wrong-encoding", "line 1"),
        of_text("saved as UTF-16", wide, "wrong-encoding", "line 1"),
        of_text("a byte that is not UTF-8", wrong, "wrong-encoding", "line 4"),
        of_text("an image", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "wrong-encoding", "line 1"),
    ]
}

#[rustfmt::skip]
fn no_bills() -> Vec<BadBill> {
    let html = "<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n";
    let json = r#"{"code":"INVALID_REQUEST","message":"下载地址已失效"}"#;
    let plain = |name: &str, text: &str, reason, place| {
        of_file(name, text.as_bytes().to_vec(), sha1(text.as_bytes()), reason, place)
    };
    vec![
        plain("an empty file", "", "empty-file", "the file"),
        plain("blank lines", "\r\n \r\n\r\n", "empty-file", "the file"),
        of_text("nothing, packed", "", "empty-file", "the file"),
        plain("an HTML page", html, "html-page", "line 1"),
        of_text("an HTML page, packed", format!("\n{html}"), "html-page", "line 2"),
        plain("an error in JSON", json, "json-error", "line 1"),
        plain("a text", "no bill today\n", "no-header", "line 1"),
    ]
}

#[rustfmt::skip]
fn oversized(good: &str) -> Vec<BadBill> {
    let product = "茶".repeat(30_000);
    let columns = ",备注".repeat(200);
    vec![
        of_text("a line beyond all bounds", good.replacen('茶', &product, 1), "line-too-long", "line 2"),
        of_text("one line of zeros", [0_u8; 200_000], "line-too-long", "line 1"),
        of_text("columns beyond all bounds", good.replacen(",费率备注", &columns, 1), "too-many-columns", "line 1"),
    ]
}
