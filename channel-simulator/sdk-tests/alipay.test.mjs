import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AlipaySdk } from 'alipay-sdk';
import { number, startReceiver, startSimulator, today, untilBills } from './simulator.mjs';

// The SDK writes local time where the gateway expects Beijing's.
process.env.TZ = 'Asia/Shanghai';

let simulator, receiver;

before(async () => {
  simulator = await startSimulator();
  receiver = await startReceiver('success');
});
after(async () => { receiver.stop(); assert.equal(await simulator.stop(), 0); });

const form = (body) => Object.fromEntries(new URLSearchParams(body));
const common = (keys, privateKey = 'alipay-private-key') => ({
  appId: keys['alipay-app-id'],
  privateKey: keys[privateKey],
  keyType: 'PKCS8',
  gateway: `${simulator.url}/gateway.do`,
});

// What each mode knows of Alipay.
const modes = {
  key: ({ keys }) => ({ ...common(keys), alipayPublicKey: keys['alipay-public-key'] }),
  certificate: ({ certificateKeys: keys }) => ({
    ...common(keys),
    appCertContent: keys['alipay-app-certificate'],
    alipayPublicCertContent: keys['alipay-certificate'],
    alipayRootCertContent: keys['alipay-root-certificates'],
  }),
};

for (const [mode, config] of Object.entries(modes)) {
  describe(`${mode} mode`, () => {
    let sdk;
    before(() => { sdk = new AlipaySdk(config(simulator)); });

    const call = (method, bizContent, options = {}) => sdk.exec(method, { bizContent, ...options }, { validateSign: true });
    const precreate = (no, amount = '1.00') => call(
      'alipay.trade.precreate',
      { out_trade_no: no, total_amount: amount, subject: '一件商品' },
      { notifyUrl: receiver.url },
    );
    const query = (no) => call('alipay.trade.query', { out_trade_no: no });
    const close = (no) => call('alipay.trade.close', { out_trade_no: no });
    const cancel = (no) => call('alipay.trade.cancel', { out_trade_no: no });
    const pay = (outTradeNo) => simulator.post('/pay', { channel: 'alipay', outTradeNo });
    const told = async () => {
      const fields = form((await receiver.next()).body);
      assert.ok(sdk.checkNotifySignV2(fields));
      return fields;
    };

    test('a code becomes a trade when it is scanned, and is told about when paid', async () => {
      const no = number();
      const made = await precreate(no);
      assert.equal(made.code, '10000', JSON.stringify(made));
      assert.match(made.qrCode, /^https:\/\/qr\.alipay\.com\//);
      assert.equal((await precreate(no)).qrCode, made.qrCode);
      assert.equal((await precreate(no, '1.01')).subCode, 'ACQ.CONTEXT_INCONSISTENT');
      assert.equal((await query(no)).subCode, 'ACQ.TRADE_NOT_EXIST');
      assert.equal((await close(no)).subCode, 'ACQ.TRADE_NOT_EXIST');

      const { transactionId } = await pay(no);
      const notice = await told();
      assert.equal(notice.trade_no, transactionId);
      assert.equal(notice.total_amount, '1.00');
      assert.equal(notice.trade_status, 'TRADE_SUCCESS');
      assert.ok(!sdk.checkNotifySignV2({ ...notice, total_amount: '2.00' }));
      const found = await query(no);
      assert.equal(found.tradeStatus, 'TRADE_SUCCESS');
      assert.equal(found.totalAmount, '1.00');
      const byTradeNo = await call('alipay.trade.query', { trade_no: transactionId });
      assert.equal(byTradeNo.outTradeNo, no);
      assert.equal((await close(no)).subCode, 'ACQ.TRADE_STATUS_ERROR');
      assert.equal((await precreate(no)).subCode, 'ACQ.TRADE_HAS_SUCCESS');
    });

    test('a scanned trade can be closed', async () => {
      const no = number();
      await precreate(no);
      await simulator.post('/scan', { channel: 'alipay', outTradeNo: no });
      assert.equal((await query(no)).tradeStatus, 'WAIT_BUYER_PAY');
      assert.equal((await close(no)).code, '10000');
      assert.equal((await query(no)).tradeStatus, 'TRADE_CLOSED');
    });

    test('a page makes a trade when the payer visits it, as a link and as a form', async () => {
      const pages = [['alipay.trade.page.pay', 'FAST_INSTANT_TRADE_PAY'], ['alipay.trade.wap.pay', 'QUICK_WAP_WAY']];
      for (const [method, product_code] of pages) {
        for (const way of ['GET', 'POST']) {
          const no = number();
          const bizContent = { out_trade_no: no, total_amount: '1.00', subject: '一件"商品"', product_code };
          const page = sdk.pageExecute(method, way, { bizContent, notify_url: receiver.url });
          const answer = way === 'GET' ? await fetch(page) : await submitted(page);
          assert.match(await answer.text(), /收银台/);
          assert.equal((await query(no)).tradeStatus, 'WAIT_BUYER_PAY');
          await pay(no);
          assert.equal((await told()).out_trade_no, no);
        }
      }
    });

    test('an app order is paid by its string', async () => {
      const no = number();
      const bizContent = { out_trade_no: no, total_amount: '1.00', subject: '一件商品', product_code: 'QUICK_MSECURITY_PAY' };
      const orderString = sdk.sdkExecute('alipay.trade.app.pay', { bizContent, notify_url: receiver.url });
      await simulator.post('/pay', { channel: 'alipay', orderString });
      assert.equal((await told()).out_trade_no, no);
      assert.equal((await query(no)).tradeStatus, 'TRADE_SUCCESS');
    });

    test('a created trade exists at once and can be cancelled', async () => {
      const no = number();
      const content = { out_trade_no: no, total_amount: '1.00', subject: '一件商品', product_code: 'JSAPI_PAY', buyer_open_id: '074a' };
      const made = await call('alipay.trade.create', content);
      assert.equal((await query(no)).tradeNo, made.tradeNo);
      assert.equal((await cancel(no)).action, 'close');
      assert.equal((await query(no)).tradeStatus, 'TRADE_CLOSED');
      assert.equal((await cancel(number())).action, undefined);
    });

    test('a refund moves money once, and a cancel the rest', async () => {
      const no = number();
      await precreate(no, '3.00');
      await pay(no);
      await told();
      const refund = () => call('alipay.trade.refund', { out_trade_no: no, refund_amount: '1.20', out_request_no: 'r1' });
      const first = await refund();
      assert.deepEqual([first.fundChange, first.refundFee], ['Y', '1.20']);
      assert.equal((await refund()).fundChange, 'N');
      const notice = await told();
      assert.deepEqual([notice.trade_status, notice.out_biz_no, notice.refund_fee], ['TRADE_SUCCESS', 'r1', '1.20']);
      const found = await call('alipay.trade.fastpay.refund.query', { out_trade_no: no, out_request_no: 'r1' });
      assert.equal(found.refundStatus, 'REFUND_SUCCESS');
      const cancelled = await cancel(no);
      assert.deepEqual([cancelled.action, cancelled.retryFlag], ['refund', 'N']);
      assert.equal((await told()).trade_status, 'TRADE_CLOSED');
    });

    test('a foreign key is refused with a signed answer', async () => {
      const stranger = new AlipaySdk({ ...config(simulator), privateKey: simulator.keys['wechat-private-key'] });
      const answer = await stranger.exec('alipay.trade.query', { bizContent: { out_trade_no: 'x' } }, { validateSign: true });
      assert.equal(answer.subCode, 'isv.invalid-signature');
    });

    test('signature faults are noticed by the SDK', async () => {
      for (const name of ['unsigned-answer', 'bad-signature']) {
        await simulator.post('/faults', { name, channel: 'alipay' });
        await assert.rejects(precreate(number()), name);
      }
    });

    test('bills are zips', async () => {
      await simulator.post('/clock', untilBills);
      for (const bill_type of ['trade', 'signcustomer']) {
        const answer = await call('alipay.data.dataservice.bill.downloadurl.query', { bill_type, bill_date: today() });
        assert.equal(answer.code, '10000', JSON.stringify(answer));
        const file = Buffer.from(await (await fetch(answer.billDownloadUrl)).arrayBuffer());
        assert.equal(file.subarray(0, 4).toString('latin1'), 'PK\u0003\u0004');
      }
    });
  });
}

test('the answer names the certificate that certificate mode computes', async () => {
  const sdk = new AlipaySdk(modes.certificate(simulator));
  const answer = await sdk.exec('alipay.open.app.alipaycert.download', { bizContent: { alipay_cert_sn: sdk.config.alipayCertSn } }, { validateSign: true });
  const certificate = Buffer.from(answer.alipayCertContent, 'base64').toString();
  assert.equal(certificate, simulator.certificateKeys['alipay-certificate']);
});

// What a browser does with the SDK's form.
function submitted(html) {
  const decoded = (text) => text.replaceAll('&quot;', '"');
  const action = /<form action="([^"]*)"/.exec(html)[1];
  const fields = [...html.matchAll(/name="([^"]*)" value="([^"]*)"/g)].map(([, name, value]) => [name, decoded(value)]);
  return fetch(action, { method: 'POST', body: new URLSearchParams(fields) });
}
