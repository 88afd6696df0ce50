//! Bad bills of Alipay. The good one's lines: four comments, header, three rows, four comments.

use jiff::ToSpan as _;
use jiff::civil::Date;
use payment_core::ChannelKind;

use super::pack::{exchange, gbk, gzip, zip};
use super::{BadBill, Change, GoodRow, some_rows, writer};

const NAME: &str = "2088_20261003_业务明细.csv";
/// The same as the first part of several.
const FIRST: &str = "2088_20261003_业务明细_1.csv";
const SECOND: &str = "2088_20261003_业务明细_2.csv";
/// Flags of an entry: how far after the marks of its two headers.
const FLAGS: [(&[u8], usize); 2] = [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)];

// One case a line.
#[rustfmt::skip]
const CHANGES: [Change; 31] = [
    ("what was received is not in the total", "99.99,90.00", "99.99,90.01", "totals-differ", "交易合计"),
    ("what was given back is not in the total", "-10.00,-10.00", "-10.00,-10.01", "totals-differ", "退款合计"),
    ("the footer counts a payment more", "#交易合计：2笔", "#交易合计：3笔", "totals-differ", "交易合计"),
    ("the footer counts a refund less", "#退款合计：1笔", "#退款合计：0笔", "totals-differ", "退款合计"),
    ("an unknown kind of row", "退款\t", "转账\t", "row-malformed", "line 8, column 业务类型"),
    ("a positive refund", "-10.00,-10.00", "10.00,10.00", "row-malformed", "line 8, column 订单金额"),
    ("a negative payment", "99.99,90.00", "-99.99,90.00", "row-malformed", "line 6, column 订单金额"),
    ("a negative receipt", "99.99,90.00", "99.99,-90.00", "row-malformed", "line 6, column 商家实收"),
    ("an amount with two points", "0.01,0.01", "0.01,0.0.1", "row-malformed", "line 7, column 商家实收"),
    ("an amount with three decimals", "0.01,0.01", "0.011,0.01", "row-malformed", "line 7, column 订单金额"),
    ("an amount larger than any", "0.01,0.01", "99999999999999999999,0.01", "row-malformed", "line 7, column 订单金额"),
    ("no amount", "0.01,0.01", ",0.01", "row-malformed", "line 7, column 订单金额"),
    ("a fee in words", "-0.00006", "none", "row-malformed", "line 7, column 服务费"),
    ("a day without a time", " 11:00:00,\t", ",\t", "row-malformed", "line 7, column 完成时间"),
    ("a time of Excel", ":00:00,\t", ":00,\t", "row-malformed", "line 7, column 完成时间"),
    ("no number of the channel", "42PBAD0002\t", "\t", "row-malformed", "line 7, column 支付宝交易号"),
    ("a row with a field less", "交易\t,茶, 绿茶", "交易\t", "row-malformed", "line 6"),
    ("a comma in another text", "*水(602", "*水,(602", "row-malformed", "line 6, column 完成时间"),
    ("a line end in a name", "茶, 绿茶", "茶\n绿茶", "row-malformed", "line 6"),
    ("a column has another name", "完成时间", "结束时间", "column-missing", "line 5, column 完成时间"),
    ("the column of refunds is missing", "退款批次号/请求号", "退款", "column-missing", "line 5, column 退款批次号/请求号"),
    ("a column stands twice", "创建时间", "完成时间", "repeated-column", "line 5, column 完成时间"),
    ("the footer tells no sum", "商家实收共", "商家实收", "summary-malformed", "line 10"),
    ("the footer counts in words", "#退款合计：1笔", "#退款合计：一笔", "summary-malformed", "line 11"),
    ("the payments' footer is missing", "#交易合计", "#合计", "cut-off", "#交易合计"),
    ("the refunds' footer is missing", "#退款合计", "#合计", "cut-off", "#退款合计"),
    ("no day", "起始日期", "日期", "another-day", "起始日期"),
    ("another year", "起始日期：[", "起始日期：[1", "another-day", "line 3"),
    ("the end of a whole month", "终止日期：[", "终止日期：[1", "another-day", "line 3"),
    ("the end of the rows in their middle", "\n42PBAD0002", "\n#--业务明细列表结束--\n42PBAD0002", "repeated", "line 8"),
    ("the account stands twice", "\n#起始", "\n#账号：[1]\n#起始", "repeated", "line 3"),
];

pub(super) fn bad_bills(day: Date) -> Vec<BadBill> {
    let text = text(day, some_rows(day));
    let mut all = Vec::new();
    for (name, from, to, reason, place) in CHANGES {
        let changed = text.replacen(from, to, 1);
        all.push(of_text(name, &changed, reason, place));
    }
    all.extend(built(day, &text));
    all.extend(cut(&text));
    all.extend(packed(&text));
    all.extend(parts(day, &text));
    all.extend(encoded(&text));
    all.extend(no_bills(&text));
    all.extend(oversized(&text));
    all
}

fn text(day: Date, rows: Vec<GoodRow>) -> String {
    let mut bytes = Vec::new();
    let _ = writer::alipay(day, rows.into_iter(), &mut bytes);
    String::from_utf8(bytes).unwrap_or_default()
}

fn of_text(name: &str, text: &str, reason: &'static str, place: &'static str) -> BadBill {
    of_bytes(name, gbk(text), reason, place)
}

/// Of the table's bytes.
fn of_bytes(name: &str, table: Vec<u8>, reason: &'static str, place: &'static str) -> BadBill {
    of_file(name, zip(&[(NAME, table)]), reason, place)
}

fn of_file(name: &str, bytes: Vec<u8>, reason: &'static str, place: &'static str) -> BadBill {
    BadBill {
        name: format!("alipay: {name}"),
        kind: ChannelKind::Alipay,
        bytes,
        hash: None,
        reason,
        place,
    }
}

/// Lines missing, repeated and out of place, and rows of other days.
#[rustfmt::skip]
fn built(day: Date, good: &str) -> Vec<BadBill> {
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let of = |numbers: &[usize]| -> String { numbers.iter().map(|at| lines[at - 1]).collect() };
    let before = day.checked_sub(2.days()).unwrap_or(day);
    let yesterday = day.yesterday().unwrap_or(day);
    let many = (0..20).map(|n| GoodRow::payment(format!("P{n}"), 1, yesterday.at(9, 0, 0, 0)));
    let long = "9".repeat(200);
    let all: Vec<usize> = (1..=12).collect();
    let but = |without: usize| {
        let rest: Vec<usize> = all.iter().copied().filter(|n| *n != without).collect();
        of(&rest)
    };
    vec![
        of_text("a row is missing", &but(7), "totals-differ", "交易合计"),
        of_text("a refund is missing", &but(8), "totals-differ", "退款合计"),
        of_text("a row stands twice", &of(&[1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11]), "totals-differ", "交易合计"),
        of_text("the header is missing", &but(5), "no-header", "line 5"),
        of_text("the header stands twice", &of(&[1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11]), "repeated", "line 6"),
        of_text("a footer stands twice", &of(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 11]), "repeated", "line 11"),
        of_text("a row after the footer", &of(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 6]), "repeated", "line 12"),
        of_text("the table twice", &good.repeat(2), "repeated", "line 13"),
        of_text("the bill of yesterday", &text(yesterday, some_rows(yesterday)), "another-day", "line 3"),
        of_text("all rows are of the day before yesterday", &text(day, some_rows(before)), "another-day", "the file"),
        of_text("many rows, all of yesterday", &text(day, many.collect()), "another-day", "the file"),
        of_text("an order's number beyond all bounds", &good.replacen("PBAD0002\t,交", &format!("{long}\t,交"), 1), "row-malformed", "line 7"),
        of_text("commas beyond all bounds", &good.replacen("茶, ", &",".repeat(40), 1), "row-malformed", "line 6"),
    ]
}

#[rustfmt::skip]
fn cut(good: &str) -> Vec<BadBill> {
    let upto = |end: &str| good.find(end).map_or("", |at| &good[..at]);
    let mut in_character = gbk(upto("绿茶"));
    in_character.push(gbk("绿")[0]);
    vec![
        of_text("cut off before its day", upto("#起始日期"), "cut-off", "line 2"),
        of_text("cut off before the header", upto("支付宝交易号,"), "cut-off", "line 4"),
        of_text("cut off after the header", upto("42PBAD0001"), "cut-off", "line 5"),
        of_text("cut off in a row", upto(",0.01,0.01"), "cut-off", "line 7"),
        of_bytes("cut off in a character", in_character, "cut-off", "line 6"),
        of_text("cut off between rows", upto("42PBAD0002"), "cut-off", "line 6"),
        of_text("cut off before the footer", upto("#交易合计"), "cut-off", "#交易合计"),
        of_text("cut off in the footer", upto("笔，商家实收退款"), "cut-off", "line 11"),
        of_text("cut off before the refunds' footer", upto("#退款合计"), "cut-off", "#退款合计"),
    ]
}

/// What is wrong with the ZIP.
#[rustfmt::skip]
fn packed(good: &str) -> Vec<BadBill> {
    let file = zip(&[(NAME, gbk(good))]);
    let size = file.len();
    let mut flipped = file.clone();
    flipped[size / 3] ^= 0x55;
    let mut encrypted = file.clone();
    for (mark, flags) in FLAGS {
        let places = 0..size - flags;
        for at in places.filter(|at| file[*at..].starts_with(mark)) {
            encrypted[at + flags] |= 1;
        }
    }
    let summary = gbk("#支付宝业务汇总查询\r\n");
    let of = |name: &str, bytes: &[u8], reason, place| of_file(name, bytes.to_vec(), reason, place);
    vec![
        of("the ZIP is cut in half", &file[..size / 2], "cut-off", "the file"),
        of("the ZIP lacks its last byte", &file[..size - 1], "cut-off", "the file"),
        of("a bit of the ZIP is wrong", &flipped, "damaged", "the file"),
        of("the ZIP twice", &file.repeat(2), "repeated", "the file"),
        of("something before the ZIP", &[b"PK and more".as_slice(), &file].concat(), "repeated", "the file"),
        of("the ZIP is encrypted", &encrypted, "encrypted", NAME),
        of("a ZIP without entries", &zip::<&str>(&[]), "no-details", "the file"),
        of("the summary alone", &zip(&[("2088_业务明细(汇总).csv", summary)]), "no-details", "the file"),
        of("an account statement", &zip(&[("2088_账务明细.csv", gbk(good))]), "no-details", "the file"),
        of("the table without a ZIP", &gbk(good), "unknown-format", "the file"),
        of("packed with gzip", &gzip(&gbk(good)), "unknown-format", "the file"),
    ]
}

/// What is wrong with a bill of several tables.
#[rustfmt::skip]
fn parts(day: Date, good: &str) -> Vec<BadBill> {
    let more = [GoodRow::payment("PBAD0003", 5, day.at(13, 0, 0, 0))];
    let more = text(day, more.to_vec());
    let two = |second: &str| zip(&[(FIRST, gbk(good)), (SECOND, gbk(second))]);
    let mut same_name = two(&more);
    exchange(&mut same_name, SECOND.as_bytes(), FIRST.as_bytes());
    let many: Vec<(String, Vec<u8>)> = (0..65).map(|n| (format!("{n}.csv"), Vec::new())).collect();
    let other = more.replacen("#账号：[2", "#账号：[3", 1);
    let cut = more.find("#交易合计").map_or("", |at| &more[..at]);
    let wrong = more.replacen("#交易合计：1笔", "#交易合计：2笔", 1);
    vec![
        of_file("a part stands twice", two(good), "repeated-part", SECOND),
        of_file("two parts of one name", same_name, "repeated-part", "the file"),
        of_file("a part of another account", two(&other), "another-account", SECOND),
        of_file("a part is cut off", two(cut), "cut-off", SECOND),
        of_file("a part's totals differ", two(&wrong), "totals-differ", SECOND),
        of_file("a part is empty", two(""), "empty-file", SECOND),
        of_file("parts beyond all bounds", zip(&many), "too-many-parts", "the file"),
    ]
}

#[rustfmt::skip]
fn encoded(good: &str) -> Vec<BadBill> {
    let marked = format!("\u{feff}{good}");
    let mut wrong = gbk(good);
    let name = gbk("茶, 绿茶");
    exchange(&mut wrong, &name, &[&[0xff], &name[1..]].concat());
    let row = gbk(good);
    let row: Vec<u8> = row
        .split_inclusive(|byte| *byte == b'\n')
        .zip(good.split_inclusive('\n'))
        .enumerate()
        .flat_map(|(at, (gbk, utf8))| if at == 7 { utf8.as_bytes() } else { gbk }.to_vec())
        .collect();
    let bytes = |text: &str| text.as_bytes().to_vec();
    vec![
        of_bytes("saved as UTF-8", bytes(good), "wrong-encoding", "line 1"),
        of_bytes("saved as UTF-8 with a mark", bytes(&marked), "wrong-encoding", "line 1"),
        of_bytes("a byte that is not GBK", wrong, "wrong-encoding", "line 6"),
        of_bytes("a row in UTF-8", row, "wrong-encoding", "line 8"),
    ]
}

#[rustfmt::skip]
fn no_bills(good: &str) -> Vec<BadBill> {
    let html = "<html><body>下载链接已失效</body></html>"
        .as_bytes()
        .to_vec();
    let json = br#"{"error_response":{"code":"40004"}}"#.to_vec();
    let no_frame = good.split_inclusive('\n').skip(4).collect::<String>();
    vec![
        of_file("an empty file", Vec::new(), "empty-file", "the file"),
        of_file("an HTML page", html.clone(), "html-page", "line 1"),
        of_file("an error in JSON", json.clone(), "json-error", "line 1"),
        of_bytes("an empty table", Vec::new(), "empty-file", "the file"),
        of_bytes("an HTML page, packed", html, "html-page", "line 1"),
        of_bytes("an error in JSON, packed", json, "json-error", "line 1"),
        of_bytes("a text", b"no bill today\n".to_vec(), "no-header", "line 1"),
        of_text("the comments before the header are gone", &no_frame, "another-day", "起始日期"),
    ]
}

#[rustfmt::skip]
fn oversized(good: &str) -> Vec<BadBill> {
    let product = "茶".repeat(40_000);
    let columns = ",备注".repeat(200);
    vec![
        of_text("a line beyond all bounds", &good.replacen('茶', &product, 1), "line-too-long", "line 6"),
        of_text("columns beyond all bounds", &good.replacen(",备注", &columns, 1), "too-many-columns", "line 5"),
    ]
}
