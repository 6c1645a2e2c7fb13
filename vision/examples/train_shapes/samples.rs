//! Pictures in files: `draw` writes them with what is on them, `reference` writes what a model says of them.

use std::error::Error;
use std::fs;
use std::path::Path;

use picsift_vision::moondream::{Config, OverlapCrops};
use picsift_vision::{CropPolicy, Preprocessor, RgbImage};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::batch::size;
use crate::evaluate::{answers, prefix, yes_no};
use crate::network::Network;
use crate::questions;
use crate::scene::{Mix, Scene};
use crate::words::Words;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Questions about each picture in the reference file.
const QUESTIONS: usize = 8;

/// Writes `count` pictures and `scenes.csv`, which names each file's shapes and colours. Every fourth picture is not of
/// one view's size.
pub(crate) fn draw(config: &Config, seed: u64, count: usize, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut table = "file,shape_1,colour_1,shape_2,colour_2,shape_3,colour_3\n".to_owned();
    for number in 0..count {
        let other = if number % 4 == 3 { 1.0 } else { 0.0 };
        let size = size(&mut rng, config.vision.crop as u32, other);
        let scene = Scene::random(&mut rng, size, Mix::Seen);
        let file = format!("{number:04}.png");
        let (width, height) = size;
        image::save_buffer(
            folder.join(&file),
            &scene.draw(),
            width,
            height,
            image::ColorType::Rgb8,
        )?;
        let mut cells = vec![file];
        for object in &scene.objects {
            cells.extend([
                object.shape.name().to_owned(),
                object.colour.name().to_owned(),
            ]);
        }
        cells.resize(7, String::new());
        table += &(cells.join(",") + "\n");
    }
    fs::write(folder.join("scenes.csv"), table)?;
    Ok(())
}

/// Writes `reference.json`: for each picture that [`draw`] wrote from this seed, questions, their token ids with the
/// template, this program's logits of yes and no after them, and its greedy answers.
pub(crate) fn reference(network: &Network, seed: u64, count: usize, folder: &Path) -> Result<()> {
    let words = Words::new()?;
    let vision = &network.config.vision;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut files = Vec::new();
    for number in 0..count {
        let other = if number % 4 == 3 { 1.0 } else { 0.0 };
        let size = size(&mut rng, vision.crop as u32, other);
        let scene = Scene::random(&mut rng, size, Mix::Seen);
        let file = format!("{number:04}.png");
        let read = image::open(folder.join(&file))?.to_rgb8();
        let (width, height) = read.dimensions();
        let views = OverlapCrops::new(vision, CropPolicy::Reference).views(RgbImage {
            width,
            height,
            data: read.into_raw(),
        })?;
        let grid = views.grid;
        let prefix = prefix(network, &[views])?;
        let mut asked = Vec::new();
        for question in questions::about(
            &scene,
            QUESTIONS,
            Mix::Seen,
            &mut StdRng::seed_from_u64(number as u64),
        ) {
            let prompt = words.prompt(&question.text)?;
            let (yes, no) = yes_no(network, &words, &prefix, &prompt)?;
            let answer =
                answers(network, &words, &prefix, std::slice::from_ref(&prompt))?.remove(0);
            asked.push(json!({
                "question": question.text, "prompt_ids": prompt, "logit_yes": yes, "logit_no": no,
                "answer": answer, "right_answer": question.answer
            }));
        }
        files.push(json!({ "file": file, "grid": [grid.0, grid.1], "questions": asked }));
    }
    let ids = json!({ "yes": words.ids("yes")?[0], "no": words.ids("no")?[0] });
    let text = format!("{:#}\n", json!({ "ids": ids, "files": files }));
    fs::write(folder.join("reference.json"), text)?;
    Ok(())
}
