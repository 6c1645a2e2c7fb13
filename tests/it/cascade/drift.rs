//! Pictures that the sample had none of: the audit finds out that the cheap model is wrong about them.

use arrow::array::{BinaryArray, Int64Array, StringArray};

use super::*;

/// Pictures that come after the sample was drawn.
const LATE: usize = 200;

/// The scores by which the cheap model goes, by `id`.
fn cheap_scores(photos: &Photos) -> Vec<f32> {
    let statements = format!(
        "SET picsift.model = 'efficientnet-lite0'; SET picsift.heads = '{}'; \
         SELECT classify_score(image, 'person') AS score FROM '{}' ORDER BY id",
        photos.heads().display(),
        photos.table().display()
    );
    let args = ["sql", "--format", "json", "-c", &statements];
    let said = stdout(&command(args, &photos.cache()).output().unwrap());
    said.lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            row["score"].as_f64().unwrap() as f32
        })
        .collect()
}

#[test]
fn an_audit_finds_that_later_pictures_are_others_and_widens_the_band() {
    let photos = Photos::get();
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let (table, truth) = (read_table(&photos.table()), photos.truth());
    let bytes: &BinaryArray = column(&table, "image");
    let ids: &Int64Array = column(&truth, "id");
    let right: &BooleanArray = column(&truth, "is_person");
    let scores = cheap_scores(photos);
    // People that the cheap model sees least of.
    let mut hidden: Vec<usize> = (0..truth.num_rows())
        .filter(|row| right.value(*row))
        .map(|row| ids.value(row) as usize)
        .collect();
    hidden.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let mut names = Vec::new();
    for row in 0..table.num_rows() {
        names.push(format!("images/{row}.jpg"));
        std::fs::write(images.join(format!("{row}.jpg")), bytes.value(row)).unwrap();
    }
    names.extend((0..LATE).map(|late| format!("images/late{late}.jpg")));
    let input = folder.path().join("table.parquet");
    write_table(&input, vec![("image", array(StringArray::from(names)))]);

    let output = folder.path().join("labelled");
    let heads = photos.heads();
    let mut flags = photos.flags(heads.to_str().unwrap());
    let more = [
        "--categories",
        "person",
        "--answered-by",
        "--shard-rows",
        "100",
        "--audit",
        "0.5",
    ];
    flags.extend(more);
    // It ends right after the sample, of which the later pictures are not there yet.
    let begun = [&flags[..], &["--max-images", "1"]].concat();
    label(input.to_str().unwrap(), &output, &cache, &begun);
    let before = manifest(&output);
    let low = before["cascade"]["categories"][0]["low"].as_f64().unwrap() as f32;
    hidden.retain(|row| scores[*row] < low);
    assert!(!hidden.is_empty(), "{low}");
    for late in 0..LATE {
        let from = bytes.value(hidden[late % hidden.len()]);
        std::fs::write(images.join(format!("late{late}.jpg")), from).unwrap();
    }
    let said = label(input.to_str().unwrap(), &output, &cache, &flags);
    let after = manifest(&output);
    let notes = after["cascade"]["notes"].as_array().unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    let note = notes[0].as_str().unwrap();
    assert!(
        note.contains("'person' has drifted: of") && note.contains("audited noes"),
        "{note}"
    );
    assert!(said.contains(note), "{said}");
    let widened = after["cascade"]["categories"][0]["low"]
        .as_f64()
        .map(|low| low as f32);
    assert!(
        widened.is_none_or(|widened| widened <= scores[hidden[0]] + 1e-4),
        "{widened:?}"
    );
    // From then on the dear model is asked.
    let by = answered_by(&read_table(&output), "person");
    assert_eq!(by.len(), table.num_rows() + LATE);
    assert!(by[by.len() - 90..].iter().all(|by| by == "dear"), "{by:?}");
    let is: BooleanArray = column::<BooleanArray>(&read_table(&output), "is_person").clone();
    assert!((by.len() - 90..by.len()).all(|row| is.value(row)));
}
