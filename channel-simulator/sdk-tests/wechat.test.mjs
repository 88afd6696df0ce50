import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Aes, Formatter, Rsa, Wechatpay } from 'wechatpay-axios-plugin';
import { number, startReceiver, startSimulator, today, untilBills } from './simulator.mjs';

let simulator, receiver, pay, keys;

before(async () => {
  simulator = await startSimulator();
  receiver = await startReceiver('{"code":"SUCCESS","message":"成功"}');
  keys = simulator.keys;
  pay = client({});
});
after(async () => { receiver.stop(); assert.equal(await simulator.stop(), 0); });

const client = (changes) => new Wechatpay({
  baseURL: simulator.url,
  mchid: keys['wechat-mch-id'],
  serial: keys['wechat-merchant-serial'],
  privateKey: keys['wechat-private-key'],
  certs: { [keys['wechat-public-key-id']]: Rsa.from(keys['wechat-public-key'], Rsa.KEY_TYPE_PUBLIC) },
  ...changes,
});

const order = (out_trade_no, total = 100) => ({
  appid: keys['wechat-app-id'],
  mchid: keys['wechat-mch-id'],
  description: '一件商品, 带逗号',
  out_trade_no,
  notify_url: receiver.url,
  amount: { total, currency: 'CNY' },
});
const create = (out_trade_no, total) => pay.chain('v3/pay/transactions/native').post(order(out_trade_no, total), {});
const mchid = () => ({ params: { mchid: keys['wechat-mch-id'] } });
const query = (no) => pay.chain(`v3/pay/transactions/out-trade-no/${no}`).get(mchid());
const close = (no) => pay.chain(`v3/pay/transactions/out-trade-no/${no}/close`).post({ mchid: keys['wechat-mch-id'] }, {});
const refused = (status, code) => (error) => {
  assert.equal(error.response?.status, status, error);
  assert.equal(error.response.data.code, code);
  return true;
};

function opened({ headers, body }) {
  const text = Formatter.response(headers['wechatpay-timestamp'], headers['wechatpay-nonce'], body);
  assert.ok(Rsa.verify(text, headers['wechatpay-signature'], Rsa.from(keys['wechat-public-key'], Rsa.KEY_TYPE_PUBLIC)));
  assert.equal(headers['wechatpay-serial'], keys['wechat-public-key-id']);
  const { resource } = JSON.parse(body);
  return JSON.parse(Aes.AesGcm.decrypt(resource.ciphertext, keys['wechat-api-key'], resource.nonce, resource.associated_data));
}

test('an order is created, paid, told about and queried', async () => {
  const no = number();
  const { data } = await create(no);
  assert.match(data.code_url, /^weixin:\/\/wxpay\//);
  assert.equal((await create(no)).data.code_url, data.code_url);
  await assert.rejects(create(no, 101), refused(400, 'INVALID_REQUEST'));
  assert.equal((await query(no)).data.trade_state, 'NOTPAY');

  const { transactionId } = await simulator.post('/pay', { channel: 'wechat', outTradeNo: no });
  const told = opened(await receiver.next());
  assert.equal(told.transaction_id, transactionId);
  assert.equal(told.out_trade_no, no);
  assert.equal(told.amount.total, 100);
  assert.equal((await query(no)).data.trade_state, 'SUCCESS');
  assert.equal((await pay.chain(`v3/pay/transactions/id/${transactionId}`).get(mchid())).data.out_trade_no, no);
  await assert.rejects(close(no), refused(400, 'ORDER_PAID'));
  await assert.rejects(create(no), refused(403, 'OUT_TRADE_NO_USED'));
});

test('an order is closed for good', async () => {
  const no = number();
  await create(no);
  assert.equal((await close(no)).status, 204);
  assert.equal((await close(no)).status, 204);
  assert.equal((await query(no)).data.trade_state, 'CLOSED');
  await assert.rejects(create(no), refused(403, 'OUT_TRADE_NO_USED'));
  await assert.rejects(query('unknown1'), refused(404, 'ORDER_NOT_EXIST'));
});

test('a foreign key is refused', async () => {
  const stranger = client({ privateKey: keys['alipay-private-key'] });
  await assert.rejects(stranger.chain('v3/pay/transactions/native').post(order(number()), {}), refused(401, 'SIGN_ERROR'));
});

test('signature faults are noticed by the SDK', async () => {
  for (const name of ['unsigned-answer', 'bad-signature', 'stale-answer', 'unknown-serial', 'signtest-answer']) {
    await simulator.post('/faults', { name, channel: 'wechat' });
    await assert.rejects(create(number()), (error) => error.code === 'EV3_RES_HEADERS_INCOMPLETE' || /EV3_RES/.test(error.code ?? error.message), name);
  }
  await create(number());
});

test('a refund is accepted, ends, and is told about', async () => {
  const [no, refundNo] = [number(), number()];
  await create(no, 300);
  await simulator.post('/pay', { channel: 'wechat', outTradeNo: no });
  await receiver.next();
  const request = { out_trade_no: no, out_refund_no: refundNo, notify_url: receiver.url, amount: { refund: 120, total: 300, currency: 'CNY' } };
  assert.equal((await pay.chain('v3/refund/domestic/refunds').post(request, {})).data.status, 'PROCESSING');
  await simulator.post('/clock', { advanceSeconds: 2 });
  const told = opened(await receiver.next());
  assert.equal(told.refund_status, 'SUCCESS');
  assert.equal(told.amount.refund, 120);
  assert.equal((await pay.chain(`v3/refund/domestic/refunds/${refundNo}`).get({})).data.status, 'SUCCESS');
  assert.equal((await query(no)).data.trade_state, 'REFUND');
});

test('every kind of order leads its payer somewhere', async () => {
  const kinds = [
    ['jsapi', 'prepay_id', { payer: { openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o' } }],
    ['app', 'prepay_id', {}],
    ['h5', 'h5_url', { scene_info: { payer_client_ip: '127.0.0.1', h5_info: { type: 'Wap' } } }],
  ];
  for (const [kind, field, extra] of kinds) {
    const no = number();
    const { data } = await pay.chain(`v3/pay/transactions/${kind}`).post({ ...order(no), ...extra }, {});
    assert.ok(data[field], kind);
    await simulator.post('/pay', { channel: 'wechat', outTradeNo: no });
    const told = opened(await receiver.next());
    const found = (await query(no)).data;
    assert.equal(told.trade_type, found.trade_type);
    assert.equal(found.trade_type, { jsapi: 'JSAPI', app: 'APP', h5: 'MWEB' }[kind]);
  }
  await assert.rejects(pay.chain('v3/pay/transactions/jsapi').post(order(number()), {}), refused(400, 'PARAM_ERROR'));
});

test('a refund that fails can be seen, and an abnormal one tried again', async () => {
  const no = number();
  await create(no, 300);
  await simulator.post('/pay', { channel: 'wechat', outTradeNo: no });
  await receiver.next();
  for (const [fault, event] of [['refund-closed', 'REFUND.CLOSED'], ['refund-abnormal', 'REFUND.ABNORMAL']]) {
    await simulator.post('/faults', { name: fault });
    const out_refund_no = number();
    const request = { out_trade_no: no, out_refund_no, notify_url: receiver.url, amount: { refund: 100, total: 300, currency: 'CNY' } };
    const { data } = await pay.chain('v3/refund/domestic/refunds').post(request, {});
    await simulator.post('/clock', { advanceSeconds: 2 });
    const told = await receiver.next();
    assert.equal(JSON.parse(told.body).event_type, event);
    assert.equal(`REFUND.${opened(told).refund_status}`, event);
    if (fault === 'refund-abnormal') {
      const retry = { out_refund_no, type: 'MERCHANT_BANK_CARD' };
      const retried = await pay.chain(`v3/refund/domestic/refunds/${data.refund_id}/apply-abnormal-refund`).post(retry, {});
      assert.equal(retried.data.status, 'PROCESSING');
      await simulator.post('/clock', { advanceSeconds: 2 });
      assert.equal(opened(await receiver.next()).refund_status, 'SUCCESS');
    }
  }
});

async function billFile({ download_url, hash_value }, gzip) {
  const path = new URL(download_url);
  const file = await pay.chain(`${path.pathname.slice(1)}${path.search}`).get({ responseType: 'arraybuffer', transformResponse: [] });
  const text = gzip ? gunzipSync(file.data) : Buffer.from(file.data);
  assert.equal(createHash('sha1').update(text).digest('hex'), hash_value);
  return text.toString();
}

test('the bills have the paid orders and their hashes', async () => {
  await simulator.post('/clock', untilBills);
  const paid = (await simulator.get('/book?channel=wechat')).charges.filter((charge) => charge.state === 'PAID');
  assert.ok(paid.length >= 2);
  for (const tar_type of [undefined, 'GZIP']) {
    const trade = await pay.chain('v3/bill/tradebill').get({ params: { bill_date: today(), bill_type: 'ALL', tar_type } });
    const trades = await billFile(trade.data, tar_type);
    for (const charge of paid) assert.ok(trades.includes(`\`${charge.outTradeNo},`));
    const fund = await pay.chain('v3/bill/fundflowbill').get({ params: { bill_date: today(), account_type: 'BASIC', tar_type } });
    const flows = await billFile(fund.data, tar_type);
    for (const charge of paid) assert.ok(flows.includes(`\`${charge.transactionId},`));
  }
});

// What `wxpay crt` does: decrypt, then verify the very answer with what it brought. The command
// itself cannot be used: in 0.9.6 its verifier does not see the certificates just decrypted.
async function downloaded() {
  const { data, headers } = await pay.client.v3.get('v3/certificates', { transformResponse: [] });
  const certs = Object.fromEntries(JSON.parse(data).data.map(({ serial_no, encrypt_certificate: sealed }) => {
    const pem = Aes.AesGcm.decrypt(sealed.ciphertext, keys['wechat-api-key'], sealed.nonce, sealed.associated_data);
    assert.equal(new X509Certificate(pem).serialNumber, serial_no);
    return [serial_no, Rsa.from(pem, Rsa.KEY_TYPE_PUBLIC)];
  }));
  const text = Formatter.response(headers['wechatpay-timestamp'], headers['wechatpay-nonce'], data);
  assert.ok(Rsa.verify(text, headers['wechatpay-signature'], certs[headers['wechatpay-serial']]));
  return certs;
}

// Last: it changes what unasked answers are signed with.
test('certificates are downloaded by the SDK and sign what they should', async () => {
  await assert.rejects(pay.v3.certificates.get(), refused(404, 'RESOURCE_NOT_EXISTS'));
  await simulator.post('/certificates', { callbackPercent: 100 });
  await simulator.post('/certificates/rotate', { newPercent: 50 });
  const certs = await downloaded();
  assert.equal(Object.keys(certs).length, 2);

  const bySerial = client({ certs });
  const seen = new Set();
  for (let turn = 0; turn < 4; turn += 1) {
    const no = number();
    const made = await bySerial.chain('v3/pay/transactions/native').post(order(no), {});
    seen.add(made.headers['wechatpay-serial']);
    await simulator.post('/pay', { channel: 'wechat', outTradeNo: no });
    const { headers, body } = await receiver.next();
    const text = Formatter.response(headers['wechatpay-timestamp'], headers['wechatpay-nonce'], body);
    assert.ok(Rsa.verify(text, headers['wechatpay-signature'], certs[headers['wechatpay-serial']]));
  }
  assert.deepEqual([...seen].sort(), Object.keys(certs).sort());
  const named = { headers: { 'Wechatpay-Serial': keys['wechat-public-key-id'] } };
  assert.ok((await pay.chain('v3/pay/transactions/native').post(order(number()), named)).data.code_url);
});
