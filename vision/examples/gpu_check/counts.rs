//! What each phase of the 2B model asks of the driver, by the driver that counts (`tests/null_driver`).

use std::fs;
use std::path::PathBuf;

use picsift_vision::moondream::{Config, Network};
use picsift_vision::transformer::Checkpoint;
use picsift_vision::{Generation, Views};
use serde_json::{Value, json};

use super::{Outcome, Run};

const IMAGES: usize = 64;

pub(super) fn run(run: &Run) -> Outcome {
    let file =
        std::env::var_os("NULL_OUT").ok_or("counts needs the counting driver and NULL_OUT")?;
    let mut counter = Counter {
        file: PathBuf::from(file),
        seen: 0,
    };
    let mut config = Config::v2025("{}")?;
    // What the driver's zeros would say is that every answer ends at once.
    config.template.eos = 1;
    let network = Network::read(config, &Checkpoint::random(1), &run.format())?;
    let wait = || network.device().synchronize();
    let config = network.config();
    let side = config.vision.crop;
    let views = Views {
        side: side as u32,
        grid: (1, 1),
        data: vec![128; side * side * 3],
    };
    let views = vec![&views; IMAGES];
    wait()?;
    counter.say("weights", 0)?;
    let embeddings = network.embed_images(&views, &mut |_, _| {})?;
    wait()?;
    counter.say("vision", config.vision.layers)?;
    let prefix = network.read_images(embeddings)?;
    wait()?;
    counter.say("prefix", config.text.layers)?;
    for categories in [1, 10, 50, 75] {
        let questions: Vec<Vec<u32>> = (0..categories)
            .map(|category| {
                (100..107)
                    .chain([1000 + category])
                    .chain(200..212)
                    .collect()
            })
            .collect();
        let questions: Vec<&[u32]> = questions.iter().map(Vec::as_slice).collect();
        drop(network.ask(Some(&prefix), &questions, None)?);
        wait()?;
        counter.say(&format!("{categories} categories"), config.text.layers)?;
    }
    for words in [1, 3] {
        let request = picsift_vision::moondream::Request {
            tokens: &[100, 101, 102],
            generation: Generation {
                max_tokens: words,
                ..Generation::default()
            },
        };
        network.generate(&prefix, &[request], &[0; IMAGES])?;
        wait()?;
        counter.say(&format!("{words} words"), config.text.layers * words)?;
    }
    Ok(())
}

/// Reads what the driver has written since the last time.
struct Counter {
    file: PathBuf,
    seen: usize,
}

impl Counter {
    fn say(&mut self, phase: &str, layers: usize) -> Outcome {
        let text = fs::read_to_string(&self.file)?;
        let lines: Vec<&str> = text.lines().collect();
        let mut sum: serde_json::Map<String, Value> = serde_json::Map::new();
        for line in &lines[self.seen..] {
            let line: serde_json::Map<String, Value> = serde_json::from_str(line)?;
            // Several lines where something was read back in between: counts add up, the largest of the rest stays.
            let larger = line["largest"].as_u64() > sum.get("largest").and_then(Value::as_u64);
            for (key, value) in line {
                let kept = match (
                    key.as_str(),
                    sum.get(&key).and_then(Value::as_f64),
                    value.as_f64(),
                ) {
                    ("largest" | "peak_mb" | "live_mb", Some(a), Some(b)) => json!(a.max(b)),
                    ("largest_kernel", ..) if !larger && sum.contains_key("largest_kernel") => {
                        continue;
                    }
                    (_, Some(a), Some(b)) => json!(a + b),
                    _ => value,
                };
                sum.insert(key, kept);
            }
        }
        self.seen = lines.len();
        let mut line = json!({ "counts": phase, "images": IMAGES, "layers": layers });
        if let Some(line) = line.as_object_mut() {
            line.extend(sum);
        }
        println!("{line}");
        Ok(())
    }
}
