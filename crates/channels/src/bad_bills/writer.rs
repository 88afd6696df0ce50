//! Good bills, written as the channels write them, one row after the other.
//!
//! Guarantees: totals, hash and packing are right; nothing but the row at hand is in memory.
//!
//! Not here: split bills and other rarities; tests put those together from a good text.

use std::io::{self, Seek, Write};

use encoding_rs::GBK;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::{Date, DateTime};
use payment_core::ChannelKind;
use sha1::{Digest as _, Sha1};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::BillRowKind;

const WECHAT_HEADER: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const WECHAT_SUMMARY: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";
const ALIPAY_HEADER: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
/// The merchant of every row.
const WECHAT_MERCHANT: &str = "1900000109";
const WECHAT_APP: &str = "wxd678efh567hg6787";
const ALIPAY_ACCOUNT: &str = "20880211096256330156";

/// What a bill is to tell of one payment or refund. Amounts are in fen and positive.
#[derive(Clone, Debug)]
pub struct GoodRow {
    pub kind: BillRowKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    /// Our number of the refund, on refund rows.
    pub refund_no: Option<String>,
    pub amount_minor: i64,
    /// What is left of the amount after coupons.
    pub settled_minor: i64,
    /// 1e-5 yuan; negative on refunds.
    pub fee_1e5: i64,
    /// Beijing time.
    pub time: DateTime,
    pub product: String,
    /// WeChat Pay's word: `SUCCESS`, `PROCESSING`, `FAIL` or `CHANGE`. Alipay has none.
    pub refund_status: String,
    /// WeChat Pay's 公众账号ID. Alipay's rows name no app.
    pub app_id: String,
}

impl GoodRow {
    /// A payment without coupons, at the rate of 0.6 %.
    pub fn payment(channel_order_no: impl Into<String>, amount_minor: i64, time: DateTime) -> Self {
        let channel_order_no = channel_order_no.into();
        Self {
            kind: BillRowKind::Payment,
            transaction_id: format!("42{channel_order_no}"),
            channel_order_no,
            refund_no: None,
            amount_minor,
            settled_minor: amount_minor,
            fee_1e5: amount_minor.saturating_mul(6),
            time,
            product: "茶".to_owned(),
            refund_status: String::new(),
            app_id: WECHAT_APP.to_owned(),
        }
    }

    /// A refund that has succeeded, of a payment under that number.
    pub fn refund(
        channel_order_no: impl Into<String>,
        refund_no: impl Into<String>,
        amount_minor: i64,
        time: DateTime,
    ) -> Self {
        let payment = Self::payment(channel_order_no, amount_minor, time);
        Self {
            kind: BillRowKind::Refund,
            refund_no: Some(refund_no.into()),
            fee_1e5: payment.fee_1e5.saturating_neg(),
            refund_status: "SUCCESS".to_owned(),
            ..payment
        }
    }

    fn sign(&self) -> i64 {
        match self.kind {
            BillRowKind::Payment => 1,
            BillRowKind::Refund => -1,
        }
    }
}

/// Writes a bill as its channel packs it. The answer is WeChat Pay's hash.
///
/// # Errors
/// Those of `out`.
pub fn write_bill(
    kind: ChannelKind,
    day: Date,
    rows: impl Iterator<Item = GoodRow>,
    out: impl Write + Seek,
) -> io::Result<Option<String>> {
    match kind {
        ChannelKind::Wechat => {
            let mut out = Hashed {
                out: GzEncoder::new(out, Compression::fast()),
                hash: Sha1::new(),
            };
            wechat(rows, &mut out)?;
            out.out.finish()?.flush()?;
            Ok(Some(hex::encode(out.hash.finalize())))
        }
        ChannelKind::Alipay => {
            let mut zip = ZipWriter::new(out);
            let options = SimpleFileOptions::default().compression_level(Some(1));
            for (name, is_detail) in [("业务明细(汇总)", false), ("业务明细", true)] {
                let name = format!("{ALIPAY_ACCOUNT}_{}_{name}.csv", day.strftime("%Y%m%d"));
                zip.start_file(name, options)?;
                if !is_detail {
                    zip.write_all(&GBK.encode("#支付宝业务汇总查询\r\n").0)?;
                }
            }
            let mut out = Gbk(zip);
            alipay(day, rows, &mut out)?;
            out.0.finish()?.flush()?;
            Ok(None)
        }
    }
}

struct Hashed<W> {
    out: W,
    hash: Sha1,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.out.write(bytes)?;
        self.hash.update(&bytes[..size]);
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Takes whole lines of UTF-8.
struct Gbk<W>(W);

impl<W: Write> Write for Gbk<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_all(&GBK.encode(text).0)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes each line at once, which the encodings need.
fn line(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(format!("{text}\r\n").as_bytes())
}

#[derive(Default)]
struct Sums {
    rows: u64,
    face: i64,
    settled: i64,
    coupons: i64,
}

impl Sums {
    fn add(&mut self, row: &GoodRow) {
        self.rows += 1;
        self.face += row.amount_minor;
        self.settled += row.settled_minor;
        self.coupons += row.amount_minor - row.settled_minor;
    }
}

/// The text of WeChat Pay's bill.
pub(super) fn wechat(rows: impl Iterator<Item = GoodRow>, out: &mut impl Write) -> io::Result<()> {
    line(out, &format!("\u{feff}{WECHAT_HEADER}"))?;
    let (mut payments, mut refunds, mut fee) = (Sums::default(), Sums::default(), 0);
    for row in rows {
        let is_refund = row.kind == BillRowKind::Refund;
        let sums = if is_refund {
            &mut refunds
        } else {
            &mut payments
        };
        sums.add(&row);
        fee += row.fee_1e5;
        let paid = |minor| yuan(if is_refund { 0 } else { minor });
        let refunded = |minor| yuan(if is_refund { minor } else { 0 });
        let refund_id = format!("50{}", row.transaction_id);
        let text = format!(
            "`{},`{},`{WECHAT_MERCHANT},`0,`,`{},`{},`oUpF8uMuAJO,`NATIVE,`{},`OTHERS,`CNY,`{},`{},`{},`{},`{},`0.00,`{},`{},`{},`,`{},`0.60%,`{},`{},`",
            row.time.strftime("%Y-%m-%d %H:%M:%S"),
            row.app_id,
            row.transaction_id,
            row.channel_order_no,
            if is_refund { "REFUND" } else { "SUCCESS" },
            paid(row.settled_minor),
            paid(row.amount_minor - row.settled_minor),
            if is_refund { &refund_id } else { "0" },
            row.refund_no.as_deref().unwrap_or("0"),
            refunded(row.settled_minor),
            if is_refund { "ORIGINAL" } else { "" },
            row.refund_status,
            row.product,
            yuan_five(row.fee_1e5),
            paid(row.amount_minor),
            refunded(row.amount_minor),
        );
        line(out, &text)?;
    }
    line(out, WECHAT_SUMMARY)?;
    let text = format!(
        "`{},`{},`{},`0.00,`{},`{},`{}",
        payments.rows + refunds.rows,
        yuan(payments.settled),
        yuan(refunds.settled),
        yuan_five(fee),
        yuan(payments.face),
        yuan(refunds.face),
    );
    line(out, &text)
}

/// The text of Alipay's table, in UTF-8.
pub(super) fn alipay(
    day: Date,
    rows: impl Iterator<Item = GoodRow>,
    out: &mut impl Write,
) -> io::Result<()> {
    let full = |day: Date| day.strftime("%Y年%m月%d日 00:00:00").to_string();
    let dashes = "-".repeat(40);
    let (from, to) = (full(day), full(day.tomorrow().unwrap_or(day)));
    line(out, "#支付宝业务明细查询")?;
    line(out, &format!("#账号：[{ALIPAY_ACCOUNT}]"))?;
    line(out, &format!("#起始日期：[{from}]   终止日期：[{to}]"))?;
    line(out, &format!("#{dashes}业务明细列表{dashes}"))?;
    line(out, ALIPAY_HEADER)?;
    let (mut payments, mut refunds) = (Sums::default(), Sums::default());
    for row in rows {
        let (sums, name) = match row.kind {
            BillRowKind::Payment => (&mut payments, "交易"),
            BillRowKind::Refund => (&mut refunds, "退款"),
        };
        sums.add(&row);
        let sign = row.sign();
        let text = format!(
            "{}\t,{}\t,{name}\t,{},{},{},\t,\t,\t,\t,*水(602***@qq.com)\t,{},{},0.00,0.00,0.00,{},0.00,,0.00\t,0.00,{}\t,{},0.00,",
            row.transaction_id,
            row.channel_order_no,
            row.product,
            row.time.strftime("%Y-%m-%d %H:%M:%S"),
            row.time.strftime("%Y-%m-%d %H:%M:%S"),
            yuan(sign * row.amount_minor),
            yuan(sign * row.settled_minor),
            yuan(sign * (row.amount_minor - row.settled_minor)),
            row.refund_no.as_deref().unwrap_or_default(),
            yuan_five(-row.fee_1e5),
        );
        line(out, &text)?;
    }
    line(out, &format!("#{dashes}业务明细列表结束{dashes}"))?;
    let (count, sum) = (payments.rows, yuan(payments.settled));
    let coupons = yuan(payments.coupons);
    line(
        out,
        &format!("#交易合计：{count}笔，商家实收共{sum}元，商家优惠共{coupons}元"),
    )?;
    let (count, sum) = (refunds.rows, yuan(-refunds.settled));
    let coupons = yuan(-refunds.coupons);
    line(
        out,
        &format!("#退款合计：{count}笔，商家实收退款共{sum}元，商家优惠退款共{coupons}元"),
    )?;
    line(out, &format!("#导出时间：[{from}]"))
}

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    let fen = fen.unsigned_abs();
    format!("{sign}{}.{:02}", fen / 100, fen % 100)
}

fn yuan_five(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:05}", value / 100_000, value % 100_000)
}
