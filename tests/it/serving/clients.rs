//! What clients get: the rows of the shell and the lines of `picsift image`, by the real driver and by JSON.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

#[test]
fn the_real_driver_gets_the_rows_of_the_shell() {
    let serving = Serving::start(&[]);
    let query = |table: &str| {
        format!(
            "SELECT file, classify(image, 'dog') AS dog, classify_score(image, 'building') AS building, \
             classify_labels(image, ['fish', 'musical instrument']) AS labels FROM {table} ORDER BY file"
        )
    };
    let expected = shell(&query("'datasets/photos/embedded'"));
    assert!(expected.len() > 100);
    let served = query("demo.embedded");
    assert_alike(&serving.rows(&served), &expected);
    if let Some(rows) = serving.driver("query", &[&serving.uri(), &serving.token, &served]) {
        assert_alike(&lines(&rows), &expected);
    }
    // References are read as those of their table.
    let photos = "SELECT file, classify(image, 'dog') AS dog FROM {} ORDER BY file LIMIT 20";
    assert_eq!(
        serving.rows(&photos.replace("{}", "demo.references")),
        shell(&photos.replace("{}", "'datasets/photos/references'"))
    );
    assert!(serving.metric("picsift_images_asked_total") > 100.0);
    assert!(serving.log().contains("image fetched"), "{}", serving.log());
}

#[test]
fn drivers_find_tables_bind_values_and_set_what_is_theirs() {
    let serving = Serving::start(&[]);
    let (uri, token) = (serving.uri(), serving.token.clone());
    for check in ["people", "prepared", "tables", "sessions", "streams"] {
        if serving.driver(check, &[&uri, &token]).is_none() {
            return;
        }
    }
    serving.soon("nothing runs whose reader is gone", || {
        serving.metric("picsift_running") == 0.0
    });
    let cancelled = r#"picsift_requests_total{way="flight",outcome="cancelled"}"#;
    assert_eq!(serving.metric(cancelled), 1.0);
}

#[test]
fn pictures_are_labelled_as_the_image_command_does() {
    let serving = Serving::start(&[]);
    let folder = root().join(REFERENCES).join("images");
    let names: Vec<PathBuf> = walkdir::WalkDir::new(&folder)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file())
        .take(5)
        .collect();
    let mut arguments = vec![
        "image".to_string(),
        "--categories".to_string(),
        "dog,building".to_string(),
    ];
    arguments.extend(names.iter().map(|name| name.display().to_string()));
    let mut expected = lines(&stdout(&picsift(&arguments)));
    for (line, name) in expected.iter_mut().zip(&names) {
        line["file"] = json!(name.file_name().unwrap().to_str().unwrap());
    }
    let encoded = |bytes: &[u8]| base64(bytes);
    let images: Vec<Value> = names
        .iter()
        .map(|name| json!({"file": name.file_name().unwrap().to_str().unwrap(), "data": encoded(&fs::read(name).unwrap())}))
        .collect();
    let asked = json!({"images": images, "categories": ["dog", "building"]});
    let answer = serving.json(&serving.token, "/v1/label", &asked);
    assert_eq!(
        (answer.status, lines(&answer.body)),
        (200, expected.clone()),
        "{}",
        serving.log()
    );
    let mut form = Vec::new();
    for name in &names {
        let file = name.file_name().unwrap().to_str().unwrap();
        write!(
            form,
            "--X\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{file}\"\r\n\r\n"
        )
        .unwrap();
        form.extend(fs::read(name).unwrap());
        form.extend(b"\r\n");
    }
    form.extend(b"--X\r\nContent-Disposition: form-data; name=\"categories\"\r\n\r\ndog, building\r\n--X--\r\n");
    let bearer = format!("Authorization: Bearer {}", serving.token);
    let headers = [
        &serving.host(),
        &bearer,
        "Content-Type: multipart/form-data; boundary=X",
    ];
    let answer = serving.ask("POST /v1/label", &headers, &form);
    assert_eq!(
        (answer.status, lines(&answer.body)),
        (200, expected),
        "{}",
        serving.log()
    );
    // What is no picture is its own line's error.
    let mixed = json!({"images": [{"file": "a", "data": encoded(b"no picture")}, images[0]], "categories": ["dog"]});
    let answer = lines(&serving.json(&serving.token, "/v1/label", &mixed).body);
    assert!(
        answer[0]["error"].is_string() && answer[1]["error"].is_null(),
        "{answer:?}"
    );
    for wrong in [
        json!({"images": [], "categories": ["dog"]}),
        json!({"images": images, "categories": []}),
        json!({"images": images, "categories": ["dog"], "model": "/etc"}),
        json!({"images": images, "categories": ["dog"], "heads": "/etc/passwd"}),
        json!({"images": [{"file": "/etc/passwd"}], "categories": ["dog"]}),
        json!({"images": images, "categories": ["dog"], "threshold": 7}),
        json!(7),
    ] {
        let answer = serving.json(&serving.token, "/v1/label", &wrong);
        assert!([400, 403].contains(&answer.status), "{}", answer.body);
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn rows_come_as_lines_or_as_arrow_with_values_and_settings() {
    let serving = Serving::start(&[]);
    let asked = json!({
        "sql": "SELECT $1 AS a, ? IS NULL AS b", "parameters": []
    });
    assert_eq!(serving.json(&serving.token, "/v1/sql", &asked).status, 400);
    let asked = json!({
        "sql": "SELECT x.a, $2 AS b, y.a, classify(image, $3) AS dog FROM demo.embedded, (SELECT $1 AS a) x, (SELECT $1 AS a) y LIMIT 2",
        "parameters": ["x'y", 2, "dog"],
        "settings": {"threshold": 0}
    });
    let answer = serving.json(&serving.token, "/v1/sql", &asked);
    let row = json!({"a": "x'y", "b": 2, "a_1": "x'y", "dog": true});
    assert_eq!(
        (answer.status, lines(&answer.body)),
        (200, vec![row.clone(), row])
    );
    assert!(
        answer.head.contains("application/x-ndjson"),
        "{}",
        answer.head
    );
    let bearer = format!("Authorization: Bearer {}", serving.token);
    let headers = [
        &serving.host(),
        &bearer,
        "Content-Type: application/json",
        "Accept: application/vnd.apache.arrow.stream",
    ];
    let body = json!({"sql": "SELECT 1 AS one"}).to_string();
    let answer = serving.ask("POST /v1/sql", &headers, body.as_bytes());
    assert!(
        answer.status == 200 && answer.head.contains("vnd.apache.arrow.stream"),
        "{}",
        answer.head
    );
    assert!(answer.body.contains("one"));
    let foreign = json!({"sql": "SELECT 1", "settings": {"heads": "/etc/passwd"}});
    assert_eq!(
        serving.json(&serving.token, "/v1/sql", &foreign).status,
        403
    );
}

#[tokio::test]
async fn the_columns_of_a_command_are_told_before_it_runs() {
    use arrow_flight::flight_service_client::FlightServiceClient;
    use arrow_flight::sql::{CommandGetTableTypes, CommandStatementQuery, ProstMessageExt};
    use arrow_flight::{FlightDescriptor, IpcMessage};
    use prost::Message;
    use tonic::Request;
    use tonic::transport::Endpoint;

    let serving = Serving::start(&[]);
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", serving.port)).unwrap();
    let mut client = FlightServiceClient::new(endpoint.connect().await.unwrap());
    let bearer = format!("Bearer {}", serving.token);
    let mut columns = async |command: Vec<u8>| {
        let mut request = Request::new(FlightDescriptor::new_cmd(command));
        let header = bearer.parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        let answer = client.get_schema(request).await?.into_inner();
        let schema = arrow::datatypes::Schema::try_from(IpcMessage(answer.schema));
        let schema = schema.unwrap();
        let names = schema.fields().iter().map(|field| field.name().clone());
        Ok::<Vec<String>, tonic::Status>(names.collect())
    };
    let statement = |sql: &str| {
        let command = CommandStatementQuery {
            query: sql.to_string(),
            transaction_id: None,
        };
        command.as_any().encode_to_vec()
    };
    let sql = "SELECT file, classify(image, 'dog') AS dog FROM demo.embedded";
    assert_eq!(columns(statement(sql)).await.unwrap(), ["file", "dog"]);
    let types = CommandGetTableTypes {}.as_any().encode_to_vec();
    assert_eq!(columns(types).await.unwrap(), ["table_type"]);
    let wrong = columns(statement("SELECT nothing")).await.unwrap_err();
    assert_eq!(wrong.code(), tonic::Code::InvalidArgument, "{wrong}");
    let file = columns(statement("COPY (SELECT 1) TO '/tmp/x.csv'")).await;
    assert_eq!(file.unwrap_err().code(), tonic::Code::PermissionDenied);
    assert!(columns(b"nothing".to_vec()).await.is_err());
    assert_eq!(serving.metric("picsift_images_total"), 0.0);
}
