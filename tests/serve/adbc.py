"""Asks a server by the real ADBC driver, and says what does not hold.

Usage: adbc.py CHECK URI [TOKEN [MORE]]   where CHECK is one of the functions below.
"""

import json
import sys

import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions, dbapi

COOKIES = DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value
AUTHORIZATION = DatabaseOptions.AUTHORIZATION_HEADER.value
ROOTS = DatabaseOptions.TLS_ROOT_CERTS.value


def connect(uri, token=None, **more):
    options = dict(more)
    if token is not None:
        options[AUTHORIZATION] = f"Bearer {token}"
    return dbapi.connect(uri, db_kwargs=options)


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


def refused(words, work):
    try:
        work()
    except Exception as error:
        text = str(error)
        assert all(word.lower() in text.lower() for word in words), text
        return
    raise AssertionError(f"nothing was refused with {words}")


def query(uri, token, sql):
    """The rows of a statement, as lines of JSON."""
    with connect(uri, token) as connection:
        for row in rows(connection, sql).to_pylist():
            print(json.dumps(row))


def people(uri, token):
    """A token comes as a bearer's or as a password; nothing else comes in."""
    with connect(uri, token) as connection:
        assert rows(connection, "SELECT 1 AS one").to_pylist() == [{"one": 1}]
    with dbapi.connect(uri, db_kwargs={"username": "anna", "password": token}) as connection:
        assert rows(connection, "SELECT 2 AS two").to_pylist() == [{"two": 2}]
    ask = lambda **options: lambda: rows(dbapi.connect(uri, db_kwargs=options), "SELECT 1")
    refused(["token"], ask())
    refused(["token"], ask(**{AUTHORIZATION: f"Bearer {token}x"}))
    refused(["token"], ask(**{AUTHORIZATION: token}))
    refused(["token"], ask(username="bob", password=token))


def prepared(uri, token):
    """Values come as parameters, typed, into what is asked of images too; a statement serves again with others."""
    with connect(uri, token) as connection:
        text = "x' OR '1'='1"
        table = rows(connection, "SELECT $1 AS t, $2 AS n, $3 AS f, $4 AS nothing", (text, 7, 0.5, None))
        assert table.to_pylist() == [{"t": text, "n": 7, "f": 0.5, "nothing": None}], table
        count = "SELECT count(*) AS n FROM demo.embedded WHERE collection = ?"
        groups = rows(connection, "SELECT collection, count(*) AS n FROM demo.embedded GROUP BY collection").to_pylist()
        assert len(groups) > 3
        for row in groups:
            assert rows(connection, count, (row["collection"],)).to_pylist() == [{"n": row["n"]}]
        by_value = rows(connection, "SELECT classify_score(image, $1) AS s FROM demo.embedded LIMIT 3", ("dog",))
        by_text = rows(connection, "SELECT classify_score(image, 'dog') AS s FROM demo.embedded LIMIT 3")
        assert by_value.equals(by_text), (by_value, by_text)
        refused(["$2"], lambda: rows(connection, "SELECT $2", (1,)))
        refused(["parameter"], lambda: rows(connection, "SELECT $1"))


def tables(uri, token):
    """Drivers find catalogs, schemas, tables and columns, and the columns of a result before it runs."""
    with connect(uri, token) as connection:
        objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        assert [one["catalog_name"] for one in objects] == ["picsift"], objects
        schemas = {one["db_schema_name"]: one["db_schema_tables"] for one in objects[0]["catalog_db_schemas"]}
        assert set(schemas) == {"public", "demo"}, schemas
        found = {one["table_name"]: one for one in schemas["demo"]}
        assert {"embedded", "references", "photos"} <= set(found), found.keys()
        columns = [column["column_name"] for column in found["embedded"]["table_columns"]]
        told = connection.adbc_get_table_schema("embedded", catalog_filter="picsift", db_schema_filter="demo")
        assert columns == told.names and "image" in columns, (columns, told)
        assert connection.adbc_get_table_types() == ["TABLE"]
        info = connection.adbc_get_info()
        assert info["vendor_name"] == "picsift", info
        with connection.cursor() as cursor:
            schema = cursor.adbc_execute_schema("SELECT file, classify(image, 'dog') AS dog FROM demo.embedded")
            assert schema.field("dog").type == pa.bool_(), schema


def streams(uri, token):
    """First rows come before a query ends, and a query whose reader goes ends."""
    with connect(uri, token) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM generate_series(1, 4000000000)")
        reader = cursor.fetch_record_batch()
        first = next(iter(reader))
        assert first.num_rows > 0


def sessions(uri, token):
    """A setting holds in its session alone, and only those that are a client's to make."""
    labels = "SELECT count(*) FILTER (WHERE classify(image, 'dog')) AS n FROM demo.embedded"
    ask = lambda connection: rows(connection, labels).to_pylist()[0]["n"]
    with connect(uri, token, **{COOKIES: "true"}) as one, connect(uri, token, **{COOKIES: "true"}) as other:
        before = ask(one)
        with one.cursor() as cursor:
            cursor.execute("SET picsift.threshold = 0")
            cursor.fetch_arrow_table()
        assert ask(one) == rows(one, "SELECT count(*) AS n FROM demo.embedded").to_pylist()[0]["n"]
        assert ask(other) == before
        for setting in ["picsift.base = '/etc'", "picsift.model = '/etc'", "picsift.heads = '/etc/passwd'"]:
            refused(["PermissionDenied"], lambda: rows(one, f"SET {setting}"))


def secure(uri, token, certificate):
    """TLS with a certificate that the client knows, and none without."""
    roots = open(certificate).read()
    with connect(uri, token, **{ROOTS: roots}) as connection:
        assert rows(connection, "SELECT 1 AS one").to_pylist() == [{"one": 1}]
    refused([], lambda: rows(connect(uri, token), "SELECT 1"))
    refused([], lambda: rows(connect(uri.replace("grpc+tls", "grpc"), token), "SELECT 1"))


def local(uri):
    """A socket of this machine, or a port of it without tokens."""
    with connect(uri) as connection:
        assert rows(connection, "SELECT 1 AS one").to_pylist() == [{"one": 1}]


def certificate(folder):
    """A certificate of 127.0.0.1 and its key, written into a folder."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "picsift test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    with open(f"{folder}/cert.pem", "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))
    with open(f"{folder}/key.pem", "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
