#!/usr/bin/env python3
"""A small web shop: one program, a service for each role.

    shop.py web         GET /  a page out of catalogue, advice and cart;  POST /buy?item=N  cart, stock, payment, order
    shop.py catalogue   GET /items, GET /items/N
    shop.py advice      GET /for/N  what goes with N: asks the catalogue for each
    shop.py cart        POST /add?item=N, GET /, DELETE /: kept in the cache, by the Redis protocol
    shop.py cache       redis-server where the distribution has it, else a stand-in that knows GET, SET, DEL, INCR and PING
    shop.py orders      POST /?item=N&paid=…, GET /: kept in the database
    shop.py db          MariaDB where the distribution has it, spoken to by its own client; else SQLite behind HTTP
    shop.py pay         POST /?amount=N: refuses amounts over 1000; asks a calculator for the total, by gRPC

Each finds the others by host name; nothing here knows of DAMC. Python's standard library is all it needs. A request that
belongs to a trace (`traceparent`, W3C Trace Context) takes it along to all that follow from it, by HTTP and by gRPC;
`GET /trace` of web, advice and catalogue says what each of them saw.
"""

import json
import os
import re
import secrets
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DOMAIN = os.environ.get("DAMC_DOMAIN", "shop.damc")
ITEMS = {n: {"id": n, "name": f"thing {n}", "price": 7 * n % 90 + 10} for n in range(1, 41)}


class Trace:
    """The trace of the request that a thread works on; each service is a span of its own in it."""

    of_thread = threading.local()

    def begin(self, said):
        known = re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", (said or "").strip())
        self.of_thread.seen = known[0] if known else None
        self.of_thread.span = f"{secrets.randbits(64) or 1:016x}"

    def seen(self):
        return getattr(self.of_thread, "seen", None)

    def onward(self):
        seen = self.seen()
        return f"{seen[:36]}{self.of_thread.span}{seen[52:]}" if seen else None


TRACE = Trace()


class Problem(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def call(service, path="/", method="GET", body=None):
    """JSON from another service."""
    url = f"http://{service}.shop.{DOMAIN}{path}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method)
    if context := TRACE.onward():
        request.add_header("traceparent", context)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise Problem(error.code, f"{service}: {error.read().decode(errors='replace').strip()}") from error
    except OSError as error:
        raise Problem(503, f"{service}: {error}") from error


class Cache:
    """A client of the Redis protocol, one connection for each thread."""

    local = threading.local()

    def ask(self, *words):
        for last in (False, True):
            try:
                if not hasattr(self.local, "file"):
                    connection = socket.create_connection((f"cache.shop.{DOMAIN}", 6379), timeout=10)
                    self.local.file = connection.makefile("rwb")
                return self.exchange(self.local.file, words)
            except OSError as error:
                self.local.__dict__.pop("file", None)
                if last:
                    raise Problem(503, f"cache: {error}") from error
        return None

    @staticmethod
    def exchange(file, words):
        file.write(b"*%d\r\n" % len(words))
        for word in words:
            data = str(word).encode()
            file.write(b"$%d\r\n%s\r\n" % (len(data), data))
        file.flush()
        head = file.readline()
        if not head:
            raise OSError("the cache closed the connection")
        kind, rest = head[:1], head[1:].strip()
        if kind == b"$":
            return None if rest == b"-1" else file.read(int(rest) + 2)[:-2].decode()
        if kind == b"-":
            raise Problem(500, f"cache: {rest.decode()}")
        return int(rest) if kind == b":" else rest.decode()


CACHE = Cache()


def web(method, path, query):
    if method == "GET" and path == "/":
        items = call("catalogue", "/items")
        advice = call("advice", f"/for/{items[0]['id']}")
        return {"items": len(items), "advice": advice, "cart": call("cart")}
    if path == "/trace":
        return {"web": TRACE.seen(), "advice": call("advice", "/trace"), "catalogue": call("catalogue", "/trace")}
    if method == "POST" and path == "/buy":
        item = call("catalogue", f"/items/{query['item']}")
        call("cart", f"/add?item={item['id']}", "POST")
        paid = call("pay", f"/?amount={item['price']}", "POST")
        order = call("orders", f"/?item={item['id']}&paid={paid['receipt']}", "POST")
        call("cart", method="DELETE")
        return {"order": order["order"], "item": item, "receipt": paid["receipt"], "total": paid["total"]}
    raise Problem(404, "no such page")


def catalogue(method, path, query):
    if path == "/trace":
        return TRACE.seen()
    if path == "/items":
        return list(ITEMS.values())
    item = ITEMS.get(int(path.removeprefix("/items/"))) if path.startswith("/items/") else None
    if item is None:
        raise Problem(404, "no such item")
    return item


def advice(method, path, query):
    if path == "/trace":
        return {"advice": TRACE.seen(), "catalogue": call("catalogue", "/trace")}
    chosen = int(path.removeprefix("/for/"))
    others = [(chosen * k) % len(ITEMS) + 1 for k in (3, 5, 11)]
    return [call("catalogue", f"/items/{n}")["name"] for n in others]


def cart(method, path, query):
    if method == "POST":
        items = [*json.loads(CACHE.ask("GET", "cart") or "[]"), int(query["item"])]
        CACHE.ask("SET", "cart", json.dumps(items))
        return items
    if method == "DELETE":
        CACHE.ask("DEL", "cart")
        return []
    return json.loads(CACHE.ask("GET", "cart") or "[]")


def orders(method, path, query):
    if method == "POST":
        item, receipt = int(query["item"]), query["paid"]
        if not re.fullmatch(r"r-\d+", receipt):
            raise Problem(400, f"{receipt} is no receipt")
        if MARIADB:
            sql = f"INSERT INTO orders (item, receipt) VALUES ({item}, '{receipt}'); SELECT LAST_INSERT_ID()"
            return {"order": int(mariadb(sql)[0][0])}
        done = call("db", method="POST", body={
            "sql": "INSERT INTO orders (item, receipt) VALUES (?, ?)", "values": [item, receipt]})
        return {"order": done["id"]}
    sql = "SELECT id, item, receipt FROM orders ORDER BY id"
    if MARIADB:
        return {"rows": [[int(number), int(item), receipt] for number, item, receipt in mariadb(sql)]}
    return {"rows": call("db", method="POST", body={"sql": sql, "values": []})["rows"]}


MARIADB = all(shutil.which(program) for program in ("mariadbd", "mariadb-install-db", "mariadb"))


def mariadb(sql):
    """Rows, by the distribution's own client: its protocol goes through the mesh like any other."""
    words = ["mariadb", "--no-defaults", "--host", f"db.shop.{DOMAIN}", "--user", "shop", "--batch",
             "--skip-column-names", "--connect-timeout", "5", "--execute", sql, "shop"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0:
        raise Problem(503, f"db: {done.stderr.strip()}")
    return [line.split("\t") for line in done.stdout.splitlines()]


def pay(method, path, query):
    amount = int(query["amount"])
    if not 0 < amount <= 1000:
        raise Problem(402, f"{amount} is not paid")
    return {"receipt": f"r-{CACHE.ask('INCR', 'receipts')}", "total": with_tax(amount)}


def with_tax(amount):
    """By gRPC: Python's standard library has none, so the example's own client calls."""
    client = os.environ.get("CALCULATE")
    if client is None:
        return amount
    words = [client, f"calculator.shop.{DOMAIN}", "add", str(amount), str(amount // 5)]
    context = TRACE.onward()
    env = {**os.environ, "TRACEPARENT": context} if context else None
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False, env=env)
    if done.returncode != 0:
        raise Problem(503, f"calculator: {done.stderr.strip()}")
    return int(done.stdout)


TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY {counts}, item INTEGER, receipt VARCHAR(40))"
ACCOUNTS = ["CREATE DATABASE shop", "CREATE USER 'shop'@'%'", "GRANT ALL ON shop.* TO 'shop'@'%'", "USE shop"]


def database():
    if not MARIADB:
        print("db: MariaDB is not installed (apt install mariadb-server); SQLite behind HTTP stands in", flush=True)
        serve("db", Database())
        return
    # Beside the pod's key, in the folder of the lab: it goes with the lab.
    folder = tempfile.mkdtemp(prefix="shop-db-", dir=os.path.dirname(os.environ["DAMC_KEY"]))
    own = ["--no-defaults", "--user=root", f"--datadir={folder}/data", "--innodb-log-file-size=8M"]
    subprocess.run(["mariadb-install-db", *own, "--auth-root-authentication-method=normal", "--skip-test-db"],
                   check=True, stdout=subprocess.DEVNULL)
    with open(f"{folder}/init.sql", "w", encoding="utf-8") as file:
        # One statement a line.
        file.writelines(f"{statement};\n" for statement in [*ACCOUNTS, TABLE.format(counts="AUTO_INCREMENT")])
    # It says "ready for connections" itself.
    program = shutil.which("mariadbd")
    os.execv(program, [program, *own, f"--bind-address={addresses()[0]}", "--port=3306", "--skip-name-resolve",
                       f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--init-file={folder}/init.sql"])


class Database:
    """SQLite in memory behind one lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.connection.execute(TABLE.format(counts=""))

    def __call__(self, method, path, query, body=None):
        with self.lock:
            try:
                cursor = self.connection.execute(body["sql"], body["values"])
                self.connection.commit()
                return {"id": cursor.lastrowid, "rows": cursor.fetchall()}
            except sqlite3.Error as error:
                raise Problem(400, str(error)) from error


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 512
    daemon_threads = True


def serve(role, handle):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def answer(self):
            parts = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            TRACE.begin(self.headers.get("traceparent"))
            try:
                if parts.path == "/health":
                    status, said = 200, {"ok": True}
                else:
                    query = dict(urllib.parse.parse_qsl(parts.query))
                    extra = {"body": json.loads(body)} if body else {}
                    status, said = 200, handle(self.command, parts.path, query, **extra)
            except Problem as problem:
                status, said = problem.status, {"error": str(problem)}
            except (KeyError, ValueError, TypeError) as error:
                status, said = 400, {"error": f"{role}: {error!r}"}
            data = json.dumps(said).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, form, *arguments):
            pass

    servers = [Server((a, 80), Handler) for a in addresses()]
    print(f"{role} serves port 80: ready for connections", flush=True)
    run(servers)


def addresses():
    return [a for a in (os.environ.get("DAMC_ADDRESS", "::1"), os.environ.get("DAMC_POOL_ADDRESS")) if a]


def run(servers):
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class StandIn(socketserver.StreamRequestHandler):
    """What the shop needs of Redis."""

    store, lock = {}, threading.Lock()

    def handle(self):
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2].decode())
            with self.lock:
                self.wfile.write(self.do(words[0].upper(), words[1:]))

    def do(self, command, words):
        store = self.store
        if command == "PING":
            return b"+PONG\r\n"
        if command == "SET":
            store[words[0]] = words[1]
            return b"+OK\r\n"
        if command == "DEL":
            return b":%d\r\n" % (store.pop(words[0], None) is not None)
        if command == "INCR":
            store[words[0]] = str(int(store.get(words[0], 0)) + 1)
            return b":%d\r\n" % int(store[words[0]])
        if command == "GET":
            value = store.get(words[0])
            return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value.encode()), value.encode())
        return b"-ERR unknown command\r\n"


def cache():
    if redis := shutil.which("redis-server"):
        print(f"cache: {redis} serves port 6379", flush=True)
        os.execv(redis, [redis, "--port", "6379", "--bind", *addresses(), "--protected-mode", "no", "--save", "",
                         "--appendonly", "no", "--dir", "/tmp"])
    print("cache: redis-server is not installed (apt install redis-server); a stand-in serves port 6379", flush=True)

    class ThreadingServer(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6
        allow_reuse_address = True
        daemon_threads = True

    run([ThreadingServer((a, 6379), StandIn) for a in addresses()])


def main():
    role = sys.argv[1] if len(sys.argv) == 2 else ""
    handlers = {"web": web, "catalogue": catalogue, "advice": advice, "cart": cart, "orders": orders, "pay": pay}
    if role == "cache":
        cache()
    elif role == "db":
        database()
    elif role in handlers:
        serve(role, handlers[role])
    else:
        sys.exit(f"usage: shop.py {'|'.join([*handlers, 'cache', 'db'])}")


main()
