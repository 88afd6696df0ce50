"""The simulator against the PyPI packages wechatpayv3 2.0.4 and python-alipay-sdk 3.4.0.

Run by hand, in an environment that has both:
    python python_sdks.py ../../target/debug/channel-simulator
Both packages know no other address than the channels': it is replaced on their objects.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

os.environ["TZ"] = "Asia/Shanghai"  # python-alipay-sdk writes local time.
time.tzset()

from alipay import AliPay, DCAliPay  # noqa: E402
from wechatpayv3 import WeChatPay, WeChatPayType  # noqa: E402
from wechatpayv3.core import Core  # noqa: E402

UNREACHABLE = "http://127.0.0.1:9/callbacks"


class Simulator:
    def __init__(self, binary):
        self.directory = tempfile.TemporaryDirectory()
        config = os.path.join(self.directory.name, "config.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write("listen: 127.0.0.1:0\nadminListen: 127.0.0.1:0\n")
        self.process = subprocess.Popen([binary, "--config", config], stdout=subprocess.PIPE)
        line = json.loads(self.process.stdout.readline())
        self.url, self.admin = f"http://{line['public']}", f"http://{line['admin']}"

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.admin + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        assert self.process.wait() == 0


def wechat(simulator, keys, public_key):
    known = {"public_key": keys["wechat-public-key"].strip(), "public_key_id": keys["wechat-public-key-id"]}
    client = WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=keys["wechat-mch-id"],
        private_key=keys["wechat-private-key"].strip(),
        cert_serial_no=keys["wechat-merchant-serial"],
        appid=keys["wechat-app-id"],
        apiv3_key=keys["wechat-api-key"],
        notify_url=UNREACHABLE,
        **(known if public_key else {}),
    )
    client._core._gate_way = simulator.url
    return client


def test_wechat(simulator, keys, public_key):
    client = wechat(simulator, keys, public_key)
    no = f"py{'key' if public_key else 'cert'}0001"
    code, text = client.pay(description="一件商品", out_trade_no=no, amount={"total": 300})
    assert code == 200 and json.loads(text)["code_url"], text
    simulator.call("/pay", {"channel": "wechat", "outTradeNo": no})
    code, text = client.query(out_trade_no=no)
    assert json.loads(text)["trade_state"] == "SUCCESS", text
    amount = {"refund": 100, "total": 300, "currency": "CNY"}
    code, text = client.refund(out_refund_no=f"{no}r", out_trade_no=no, amount=amount)
    assert json.loads(text)["status"] == "PROCESSING", text
    code, text = client.query_refund(f"{no}r")
    assert code == 200, text
    code, text = client.close(f"{no}x")
    assert code == 404 and json.loads(text)["code"] == "ORDER_NOT_EXIST", text


def alipay(simulator, keys, certificates):
    common = {"appid": keys["alipay-app-id"], "app_private_key_string": keys["alipay-private-key"],
              "app_notify_url": UNREACHABLE}
    if certificates is None:
        client = AliPay(alipay_public_key_string=keys["alipay-public-key"], **common)
    else:
        client = DCAliPay(
            app_public_key_cert_string=certificates["alipay-app-certificate"],
            alipay_public_key_cert_string=certificates["alipay-certificate"],
            alipay_root_cert_string=certificates["alipay-root-certificates"],
            **common,
        )
    client._gateway = f"{simulator.url}/gateway.do"
    return client


def test_alipay(simulator, keys, certificates):
    client = alipay(simulator, keys, certificates)
    no = f"py{'key' if certificates is None else 'cert'}0001"
    made = client.api_alipay_trade_precreate(subject="一件商品", out_trade_no=no, total_amount="3.00")
    assert made["code"] == "10000", made
    simulator.call("/pay", {"channel": "alipay", "outTradeNo": no})
    found = client.api_alipay_trade_query(out_trade_no=no)
    assert found["trade_status"] == "TRADE_SUCCESS", found
    refund = client.api_alipay_trade_refund("1.00", out_trade_no=no, out_request_no="r1")
    assert refund["fund_change"] == "Y", refund
    found = client.api_alipay_trade_fastpay_refund_query("r1", out_trade_no=no)
    assert found["refund_status"] == "REFUND_SUCCESS", found
    assert client.api_alipay_trade_cancel(out_trade_no=no)["action"] == "refund"

    query = client.api_alipay_trade_page_pay("一件商品", f"{no}p", "1.00", notify_url=UNREACHABLE)
    with urllib.request.urlopen(f"{simulator.url}/gateway.do?{query}") as page:
        assert "收银台" in page.read().decode()
    order = client.api_alipay_trade_app_pay("一件商品", f"{no}a", "1.00", notify_url=UNREACHABLE)
    simulator.call("/pay", {"channel": "alipay", "orderString": order})
    for suffix, status in (("p", "WAIT_BUYER_PAY"), ("a", "TRADE_SUCCESS")):
        found = client.api_alipay_trade_query(out_trade_no=no + suffix)
        assert found["trade_status"] == status, found


def main():
    simulator = Simulator(sys.argv[1])
    try:
        keys, certificates = simulator.call("/keys"), simulator.call("/keys?mode=certificate")
        test_alipay(simulator, keys, None)
        test_alipay(simulator, keys, certificates)
        test_wechat(simulator, keys, public_key=True)
        simulator.call("/certificates", {})
        # Certificates are downloaded in the constructor, before there is an object to change.
        real = Core.request
        Core.request = lambda core, *args, **kwargs: (
            setattr(core, "_gate_way", simulator.url), real(core, *args, **kwargs))[1]
        test_wechat(simulator, keys, public_key=False)
        print("all is well")
    finally:
        simulator.stop()


if __name__ == "__main__":
    main()
