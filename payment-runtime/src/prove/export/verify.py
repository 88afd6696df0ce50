#!/usr/bin/env python3
"""Checks an exported proof of one day, without the system that wrote it.

    python3 verify.py [DIRECTORY]

Reads the files beside it (or in DIRECTORY), recomputes the hashes of the files, the seals of the
ledger's entries, every sum and every equation, and prints what it finds. Exits with 0 if
everything holds, with 1 if not. Needs Python 3.9 and nothing else. README.txt says what the
columns mean.
"""

import collections
import csv
import hashlib
import json
import os
import sys

CHARGED = {"PAID", "PARTLY_REFUNDED", "REFUNDED", "PAID_AFTER_CLOSE"}
RECORD_CAUSES = {
    "charged", "given-up", "reopened", "refunded", "refund-reversed", "opening", "reposted",
}
CORRECTING = {"suspense", "freeze", "correction"}
BY_PEOPLE = {"explained", "released", "written-off"}
GENESIS = "0" * 64
PRINTED = 50

csv.field_size_limit(1 << 24)


def value(cell):
    """A cell as it was: nothing is None, one leading ' is a guard against formulas."""
    if cell == "":
        return None
    return cell[1:] if cell.startswith("'") else cell


def number(text):
    return 0 if text is None else int(text)


class Check:
    def __init__(self, directory):
        self.directory = directory
        self.problems = 0
        with open(os.path.join(directory, "manifest.json"), encoding="utf-8") as file:
            self.manifest = json.load(file)
        self.day = self.manifest["day"]

    def problem(self, text):
        self.problems += 1
        print("✗ " + text)

    def read(self, name):
        path = os.path.join(self.directory, name)
        with open(path, encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            columns = next(lines)
            for line in lines:
                if len(line) != len(columns):
                    self.problem(f"{name} line {lines.line_num}: {len(line)} cells")
                    continue
                yield dict(zip(columns, map(value, line)))

    # Files

    def files(self):
        for name, told in sorted(self.manifest["files"].items()):
            path = os.path.join(self.directory, name)
            if not os.path.exists(path):
                self.problem(f"{name} is missing")
                continue
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
            if digest.hexdigest() != told["sha256"]:
                self.problem(f"{name} is not the file of the manifest: SHA-256 differs")
            rows, sums = 0, collections.Counter()
            for row in self.read(name):
                rows += 1
                if row.get("amount_minor") is not None:
                    sums[f"{row['proof']} {row['currency']}"] += number(row["amount_minor"])
            if rows != told["rows"]:
                self.problem(f"{name} has {rows} rows, the manifest says {told['rows']}")
            said = {key: int(minor) for key, minor in told["sumsMinor"].items()}
            if dict(sums) != said:
                self.problem(f"{name} sums to {dict(sums)}, the manifest says {said}")

    # Seals

    def seals(self):
        seals, waiting, checked = {}, 0, 0
        heads = {row["shard"]: row for row in self.read("heads.csv")}
        for entry in self.read("ledger_entries.csv"):
            name = f"ledger entry {entry['id']} ({entry['entry_key']})"
            if entry["seal"] is None:
                waiting += 1
                continue
            checked += 1
            if seal_of(entry) != entry["seal"]:
                self.problem(f"{name} is not what was sealed: shard {entry['shard']} "
                             f"sequence {entry['sequence']}")
            place = (entry["shard"], int(entry["sequence"]))
            if seals.setdefault(place, (entry["seal"], entry["previous"])) != (
                entry["seal"], entry["previous"]
            ):
                self.problem(f"{name}: two seals at shard {place[0]} sequence {place[1]}")
            of = entry["payment_no"] if entry["payment_no"] is not None else entry["entry_key"]
            if hashlib.sha256(of.encode()).digest()[0] % 4 != int(entry["shard"]):
                self.problem(f"{name} stands in the wrong chain")
        linked = 0
        for (shard, sequence), (seal, previous) in seals.items():
            before = seals.get((shard, sequence - 1))
            if sequence == 1 and previous != GENESIS:
                self.problem(f"shard {shard}: the first seal follows something")
            if before is not None:
                linked += 1
                if before[0] != previous:
                    self.problem(f"shard {shard} sequence {sequence} does not follow the one before")
            head = heads.get(shard)
            if head is None or int(head["sequence"]) < sequence:
                self.problem(f"shard {shard} ends before sequence {sequence}")
            elif int(head["sequence"]) == sequence and head["seal"] != seal:
                self.problem(f"shard {shard}: its end is not the seal of sequence {sequence}")
        print(f"seals: {checked} recomputed, {linked} follow an exported one, "
              f"{waiting} entries wait for theirs")
        for shard, head in sorted(heads.items()):
            print(f"  shard {shard} ends with sequence {head['sequence']}, seal {head['seal']}")
        if self.manifest["ledger"]["violations"]:
            self.problem(f"the ledger's own check found {self.manifest['ledger']['violations']} "
                         "violations when this was exported")

    # Equations

    def load(self):
        self.rows = {}
        for name in ("payments", "refunds", "ledger_entries", "bill_rows", "differences"):
            by_proof = collections.defaultdict(list)
            for row in self.read(name + ".csv"):
                by_proof[row["proof"]].append(row)
            self.rows[name] = by_proof

    def of(self, name, channel):
        return self.rows[name][channel]

    def channel(self, told):
        channel, bill = told["channel"], told["bill"]
        print(f"{channel} {self.day}, bill {bill['digest'] if bill else 'missing'}")
        if bill is None:
            self.problem(f"{channel}: there is no bill yet, nothing of it is proven")
        currencies = {"CNY"}
        for name in ("payments", "refunds", "bill_rows"):
            currencies.update(row["currency"] for row in self.of(name, channel))
        for entry in self.of("ledger_entries", channel):
            currencies.add(entry["currency"])
        self.books = Books(self, channel)
        for currency in sorted(currencies):
            self.books.orders(currency)
            for kind in ("payment", "refund"):
                self.books.ledger(kind, currency)
                if bill is not None:
                    self.books.bill(kind, currency, told)
            if bill is not None and currency == "CNY":
                self.books.fees()
            self.books.corrections(currency)
        self.differences(channel)
        self.agreement(channel, told)

    def differences(self, channel):
        unresolved = 0
        for difference in self.of("differences", channel):
            unresolved += difference["state"] != "resolved"
            if not (difference["why"] or "").strip():
                self.problem(f"difference {difference['id']} ({difference['class']} "
                             f"{difference['number']}) has no reason")
        print(f"  differences: {len(self.of('differences', channel))}, unresolved: {unresolved}")

    def agreement(self, channel, told):
        """What the exporting system said, against what was computed here."""
        said = {}
        for equation in told["equations"]:
            key = (equation["name"], equation["currency"])
            said[key] = (int(equation["left"]["minor"]), int(equation["right"]["minor"]))
        for key, (left, right) in self.books.sums.items():
            if said.get(key, (0, 0)) != (left, right):
                self.problem(f"{channel} {key[0]} {key[1]}: the manifest says {said.get(key)}, "
                             f"the files say {(left, right)}")
        for key, sides in said.items():
            if key not in self.books.sums and sides != (0, 0) and not key[0].endswith("-kept"):
                self.problem(f"{channel} {key[0]} {key[1]} is not in the files")
        if not told["holds"]:
            self.problem(f"{channel}: the manifest itself says that the day does not hold")


class Books:
    """One channel's day."""

    def __init__(self, check, channel):
        self.check, self.channel, self.day = check, channel, check.day
        self.clearing = "clearing:" + channel
        self.sums = {}
        self.payments = {row["payment_no"]: row for row in check.of("payments", channel)}
        self.entries = {row["id"]: row for row in check.of("ledger_entries", channel)}
        self.own = {"payment": {}, "refund": {}}
        for row in check.of("payments", channel):
            if row["channel"] == channel:
                self.own["payment"][row["channel_order_no"]] = own(
                    row, row["channel_order_no"], row["paid_day"], row["status"] in CHARGED
                )
        for row in check.of("refunds", channel):
            if row["channel"] == channel:
                self.own["refund"][row["channel_refund_no"]] = own(
                    row, row["channel_refund_no"], row["refunded_day"],
                    row["status"] == "SUCCEEDED",
                )
        self.bills, self.elsewhere = {}, {}
        for kind in ("payment", "refund"):
            rows, other = collections.defaultdict(list), collections.defaultdict(set)
            for row in check.of("bill_rows", channel):
                if row["kind"] != kind:
                    continue
                if row["bill_day"] == self.day:
                    rows[row["number"]].append(row)
                else:
                    other[row["number"]].add(row["bill_day"])
            for some in rows.values():
                some.sort(key=lambda row: int(row["line"]))
            self.bills[kind], self.elsewhere[kind] = rows, other
        self.listed = collections.defaultdict(list)
        for row in check.of("differences", channel):
            self.listed[row["kind"], row["number"]].append(row)

    def of_day(self, kind, currency):
        return [
            record for record in self.own[kind].values()
            if record["settled"] and record["day"] == self.day and record["currency"] == currency
        ]

    def equation(self, name, currency, left, right, items):
        """left + items = right; an item is (about, minor, reason or None, explanation)."""
        rest = right - left - sum(item[1] for item in items)
        bad = [item for item in items if item[2] is None]
        holds = rest == 0 and not bad
        self.sums[name, currency] = (left, right)
        mark = "✓" if holds else "✗"
        print(f"  {mark} {name} {currency}: {left} {sum(i[1] for i in items):+d} = {right} "
              f"({len(items)} listed)")
        for about, minor, reason, wrong in sorted(items, key=lambda i: i[2] is not None)[:PRINTED]:
            print(f"      {'±' if reason is not None else '✗'} {about}  {minor:+d}  "
                  f"{reason if reason is not None else wrong}")
        if rest:
            print(f"      ✗ unexplained: {rest}")
        if not holds:
            self.check.problems += 1

    def orders(self, currency):
        day = self.of_day("payment", currency)
        charges = collections.defaultdict(list)
        for row in self.payments.values():
            if row["status"] in CHARGED:
                charges[row["order_id"]].append(rank(row))
        right, items = 0, []
        for record in day:
            row = record["row"]
            if rank(row) == min(charges[row["order_id"]]):
                right += record["amount"]
                continue
            about, minor = f"order {row['order_id']} ({row['payment_no']})", -record["amount"]
            if int(row["reserved_minor"]) >= record["amount"]:
                items.append((about, minor, "charged again, and given back", None))
            elif row["given_up"] == "1":
                items.append((about, minor, "given up, waits to be given back", None))
            else:
                found = self.explained(
                    "payment", record["number"], {"duplicate-charge"}, None,
                    record["amount"], record["amount"],
                )
                items.append((about, minor, *found))
        left = sum(record["amount"] for record in day)
        self.equation("orders", currency, left, right, items)

    def half(self, kind, entry):
        """What an entry adds to the clearing account's charges, or to its refunds."""
        amount, cause = int(entry["amount_minor"]), entry["cause"]
        debited, credited = entry["debit"] == self.clearing, entry["credit"] == self.clearing
        brought = cause in ("opening", "reposted")
        if kind == "payment":
            if debited and (brought or cause in ("charged", "given-up", "reopened")):
                return amount
            return -amount if credited and cause in ("charged", "given-up", "reopened") else 0
        if credited and (brought or cause in ("refunded", "refund-reversed")):
            return amount
        return -amount if debited and cause in ("refunded", "refund-reversed") else 0

    def ledger(self, kind, currency):
        records, shown = collections.Counter(), collections.Counter()
        for record in self.of_day(kind, currency):
            records[record["row"]["payment_no"]] += record["amount"]
        life = collections.Counter()
        for entry in self.entries.values():
            if entry["currency"] != currency or entry["cause"] not in RECORD_CAUSES:
                continue
            amount = int(entry["amount_minor"])
            life[entry["payment_no"]] += amount if entry["debit"] == self.clearing else 0
            life[entry["payment_no"]] -= amount if entry["credit"] == self.clearing else 0
            if entry["day"] == self.day:
                shown[entry["payment_no"]] += self.half(kind, entry)
        items = []
        for payment_no in sorted(set(records) | set(shown), key=str):
            minor = shown[payment_no] - records[payment_no]
            if minor == 0:
                continue
            payment = self.payments.get(payment_no)
            if payment is None or payment["channel"] != self.channel:
                items.append((str(payment_no), minor, None, "it has no record"))
                continue
            expected = 0
            if payment["status"] in CHARGED:
                expected = int(payment["amount_minor"]) - int(payment["refunded_minor"])
            if expected == life[payment_no]:
                items.append((payment_no, minor, "over all days both agree", None))
            else:
                items.append((payment_no, minor, None, f"over all days its record says {expected}, "
                              f"its entries {life[payment_no]}"))
        name = "ledger" if kind == "payment" else "refunds-ledger"
        self.equation(name, currency, sum(records.values()), sum(shown.values()), items)

    def bill(self, kind, currency, told):
        left = sum(record["amount"] for record in self.of_day(kind, currency))
        right, items = 0, []
        paired = set()
        for name, rows in sorted(self.bills[kind].items()):
            record = self.own[kind].get(name)
            for place, row in enumerate(rows):
                if row["currency"] != currency:
                    continue
                right += int(row["amount_minor"])
                item, is_pair = self.row(kind, row, place == 0, record)
                if is_pair:
                    paired.add(name)
                if item is not None:
                    items.append(item)
        for record in self.of_day(kind, currency):
            if record["number"] not in paired:
                items.append(self.absent(kind, record))
        name = "bill" if kind == "payment" else "refunds-bill"
        self.equation(name, currency, left, right, items)
        for equation in told["equations"]:
            if (equation["name"], equation["currency"]) == (name + "-kept", currency):
                kept = int(equation["right"]["minor"])
                self.sums[name + "-kept", currency] = (right, kept)
                if kept != right:
                    self.check.problem(f"the bill added up to {kept} when it was accepted, "
                                       f"its rows add up to {right}")

    def row(self, kind, row, first, record):
        amount = int(row["amount_minor"])
        about = f"row {row['line']} {row['number']}"
        refund = "refund-" if kind == "refund" else ""
        same = record is not None and record["currency"] == row["currency"]
        pair = first and same and record["settled"] and record["day"] == self.day
        if pair and record["amount"] == amount:
            return None, True
        minor = amount - (record["amount"] if pair else 0)
        ours = record["amount"] if record is not None and first else None
        line = None
        if not first:
            classes, line = {"duplicate"}, row["line"]
        elif record is None:
            classes = {refund + "missing-with-us", "merchant"}
        elif not same:
            classes = {"currency", "merchant"}
        elif record["amount"] != amount:
            classes = {refund + "amount", "merchant"}
        elif record["settled"]:
            reason = f"our record says {record['day'] or 'no day'}, not this day"
            return (about, minor, reason, None), pair
        elif row["status"] == "failed" and record["status"] in ("FAILED", "REVERSED"):
            return (about, minor, "the bill says that it failed, and so do we", None), pair
        else:
            classes = {refund + "short-by-status", "merchant"}
        found = self.explained(kind, row["number"], classes, line, ours, amount)
        return (about, minor, *found), pair

    def absent(self, kind, record):
        name = record["number"]
        about, minor = f"{name} ({record['row']['payment_no']})", -record["amount"]
        days = self.elsewhere[kind].get(name)
        if days:
            return (about, minor, "stands on the bill of " + ", ".join(sorted(days)), None)
        if name in self.bills[kind]:
            found = self.explained(kind, name, {"currency", "merchant"}, None,
                                   record["amount"], False)
        else:
            refund = "refund-" if kind == "refund" else ""
            found = self.explained(kind, name, {refund + "missing-at-channel"}, None,
                                   record["amount"], None)
        return (about, minor, *found)

    def explained(self, kind, name, classes, line, ours, bill):
        """(reason, None) or (None, what is wrong); `bill` False: whatever the row says."""
        wrong = "no difference lists it (expected: " + " or ".join(sorted(classes)) + ")"
        for difference in self.listed[kind, name]:
            if difference["class"] not in classes:
                continue
            if line is not None and difference["line"] != line:
                continue
            name_it = f"difference {difference['id']} {difference['class']} {difference['state']}"
            minor = difference["our_minor"], difference["bill_minor"]
            said = tuple(None if side is None else int(side) for side in minor)
            if said[0] != ours or (bill is not False and said[1] != bill):
                wrong = f"{name_it} speaks of {said}, there are {(ours, bill)}"
            elif not (difference["why"] or "").strip():
                wrong = f"{name_it} has no reason"
            elif difference["state"] == "resolved" and difference["resolution"] not in BY_PEOPLE:
                wrong = f"{name_it} was ended ({difference['resolution']}), and it is there"
            else:
                return f"{name_it}: {difference['why']}", None
        return None, wrong

    def fees(self):
        rows = [row for kind in ("payment", "refund")
                for some in self.bills[kind].values() for row in some]
        exact = sum(int(row["fee_1e5"]) for row in rows)
        whole, rest = divmod(abs(exact), 1000)
        sign = -1 if exact < 0 else 1
        items = []
        if rest:
            items.append(("rounding", sign * (rest >= 500), f"{sign * rest} hundred-thousandths "
                          "of a yuan, rounded to the nearest fen", None))
        account, posted = "fees:" + self.channel, 0
        for entry in self.entries.values():
            if (entry["cause"], entry["day"], entry["currency"]) == ("fee", self.day, "CNY"):
                posted += int(entry["amount_minor"]) * (
                    (entry["debit"] == account) - (entry["credit"] == account)
                )
        self.equation("fees", "CNY", sign * whole, posted, items)

    def corrections(self, currency):
        ids = {row["id"] for row in self.check.of("differences", self.channel)}
        left, right, items, suspense = 0, 0, [], collections.Counter()
        account = "suspense:" + self.channel
        for entry in self.entries.values():
            if (entry["day"], entry["currency"]) != (self.day, currency):
                continue
            if entry["cause"] not in CORRECTING or entry["channel"] != self.channel:
                continue
            amount, reference = int(entry["amount_minor"]), entry["reference"]
            left += amount
            prefix, _, difference = reference.partition(":")
            if prefix == "difference" and difference in ids:
                right += amount
                suspense[difference] += amount * (
                    (entry["credit"] == account) - (entry["debit"] == account)
                )
            else:
                about = f"entry {entry['id']} ({entry['entry_key']})"
                items.append((about, -amount, None, "it names no difference of the day"))
        self.equation("corrections", currency, left, right, items)
        for difference, minor in sorted(suspense.items()):
            if minor:
                print(f"      in suspense for difference {difference}: {minor}")


def rank(row):
    """Which charge stands for its order: a kept one before others, then the earlier attempt."""
    kept = row["given_up"] == "0" and int(row["reserved_minor"]) < int(row["amount_minor"])
    return not kept, int(row["attempt"])


def own(row, name, day, settled):
    return {
        "row": row, "number": name, "day": day, "settled": settled, "status": row["status"],
        "amount": int(row["amount_minor"]), "currency": row["currency"],
    }


def seal_of(entry):
    lines = []
    for name, text in (
        ("seal", "1"), ("previous", entry["previous"]), ("shard", entry["shard"]),
        ("sequence", entry["sequence"]), ("id", entry["id"]), ("key", entry["entry_key"]),
        ("payment", entry["payment_no"]), ("refund", entry["refund_no"]),
        ("channel", entry["channel"]), ("debit", entry["debit"]), ("credit", entry["credit"]),
        ("amount", entry["amount_minor"]), ("currency", entry["currency"]),
        ("day", entry["day"]), ("cause", entry["cause"]), ("source", entry["source"]),
        ("actor", entry["actor"]), ("rule", entry["rule"]), ("reference", entry["reference"]),
        ("recorded", entry["recorded_at"]),
    ):
        lines.append(f"{name} -\n" if text is None else f"{name} {len(text.encode())}:{text}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    check = Check(sys.argv[1] if len(sys.argv) > 1 else here)
    if check.manifest["format"] != 1:
        sys.exit(f"this script reads format 1, not {check.manifest['format']}")
    check.files()
    check.seals()
    check.load()
    for told in check.manifest["channels"]:
        check.channel(told)
    if check.problems:
        print(f"{check.day}: NOT PROVEN, {check.problems} problems: see the lines with ✗")
        return 1
    print(f"{check.day}: PROVEN: every hash, seal, sum and equation holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
