import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { AlipaySdk } from 'alipay-sdk';
import { number, startReceiver, startSimulator, today, untilBills } from './simulator.mjs';

// The SDK writes local time where the gateway expects Beijing's.
process.env.TZ = 'Asia/Shanghai';

let simulator, receiver, sdk;

before(async () => {
  simulator = await startSimulator();
  receiver = await startReceiver('success');
  sdk = client('alipay-private-key');
});
after(async () => { receiver.stop(); assert.equal(await simulator.stop(), 0); });

const client = (privateKey) => new AlipaySdk({
  appId: simulator.keys['alipay-app-id'],
  privateKey: simulator.keys[privateKey],
  keyType: 'PKCS8',
  alipayPublicKey: simulator.keys['alipay-public-key'],
  gateway: `${simulator.url}/gateway.do`,
});
const call = (method, bizContent, options = {}) => sdk.exec(method, { bizContent, ...options }, { validateSign: true });
const precreate = (no, amount = '1.00') => call(
  'alipay.trade.precreate',
  { out_trade_no: no, total_amount: amount, subject: '一件商品' },
  { notifyUrl: receiver.url },
);
const query = (no) => call('alipay.trade.query', { out_trade_no: no });
const close = (no) => call('alipay.trade.close', { out_trade_no: no });
const form = (body) => Object.fromEntries(new URLSearchParams(body));

test('a code becomes a trade when it is scanned, and is told about when paid', async () => {
  const no = number();
  const made = await precreate(no);
  assert.equal(made.code, '10000', JSON.stringify(made));
  assert.match(made.qrCode, /^https:\/\/qr\.alipay\.com\//);
  assert.equal((await precreate(no)).qrCode, made.qrCode);
  assert.equal((await precreate(no, '1.01')).subCode, 'ACQ.CONTEXT_INCONSISTENT');
  assert.equal((await query(no)).subCode, 'ACQ.TRADE_NOT_EXIST');
  assert.equal((await close(no)).subCode, 'ACQ.TRADE_NOT_EXIST');

  const { transactionId } = await simulator.post('/pay', { channel: 'alipay', outTradeNo: no });
  const told = form((await receiver.next()).body);
  assert.ok(sdk.checkNotifySignV2(told));
  assert.equal(told.trade_no, transactionId);
  assert.equal(told.total_amount, '1.00');
  assert.equal(told.trade_status, 'TRADE_SUCCESS');
  assert.ok(!sdk.checkNotifySignV2({ ...told, total_amount: '2.00' }));
  const found = await query(no);
  assert.equal(found.tradeStatus, 'TRADE_SUCCESS');
  assert.equal(found.totalAmount, '1.00');
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

test('a refund moves money once', async () => {
  const no = number();
  await precreate(no, '3.00');
  await simulator.post('/pay', { channel: 'alipay', outTradeNo: no });
  await receiver.next();
  const refund = () => call('alipay.trade.refund', { out_trade_no: no, refund_amount: '1.20', out_request_no: 'r1' });
  const first = await refund();
  assert.deepEqual([first.fundChange, first.refundFee], ['Y', '1.20']);
  assert.equal((await refund()).fundChange, 'N');
  const told = form((await receiver.next()).body);
  assert.ok(sdk.checkNotifySignV2(told));
  assert.deepEqual([told.trade_status, told.out_biz_no, told.refund_fee], ['TRADE_SUCCESS', 'r1', '1.20']);
  const found = await call('alipay.trade.fastpay.refund.query', { out_trade_no: no, out_request_no: 'r1' });
  assert.equal(found.refundStatus, 'REFUND_SUCCESS');
});

test('a foreign key is refused with a signed answer', async () => {
  const stranger = client('wechat-private-key');
  const answer = await stranger.exec('alipay.trade.query', { bizContent: { out_trade_no: 'x' } }, { validateSign: true });
  assert.equal(answer.subCode, 'isv.invalid-signature');
});

test('signature faults are noticed by the SDK', async () => {
  for (const name of ['unsigned-answer', 'bad-signature']) {
    await simulator.post('/faults', { name, channel: 'alipay' });
    await assert.rejects(precreate(number()), name);
  }
});

test('the bill is a zip', async () => {
  await simulator.post('/clock', untilBills);
  const answer = await call('alipay.data.dataservice.bill.downloadurl.query', { bill_type: 'trade', bill_date: today() });
  assert.equal(answer.code, '10000', JSON.stringify(answer));
  const file = Buffer.from(await (await fetch(answer.billDownloadUrl)).arrayBuffer());
  assert.equal(file.subarray(0, 4).toString('latin1'), 'PK\u0003\u0004');
});
