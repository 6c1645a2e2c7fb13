//! How often a model is right about scenes that training never drew.
//!
//! It owns answering (yes or no by the two logits, otherwise the likeliest tokens one after the other) and counting.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use candle_core::IndexOp;
use picsift_vision::Views;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rayon::prelude::*;

use crate::batch::{pictures, size, views};
use crate::network::{Network, Prefix};
use crate::questions::{self, Asked, Kind};
use crate::scene::{Mix, Scene};
use crate::words::{ANSWER, END, Words};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Most tokens of an answer; the longest right one has eleven.
const LONGEST: usize = 16;
/// Pictures that are answered at once, and questions about each.
const PICTURES: usize = 16;
const QUESTIONS: usize = 12;
/// Seeds of training have the highest bit clear.
const HELD_OUT: u64 = 1 << 63;

/// Right answers and questions.
type Tally = BTreeMap<Kind, (usize, usize)>;

/// The logits of "yes" and "no" after a question about a picture.
pub(crate) fn yes_no(
    network: &Network,
    words: &Words,
    prefix: &Prefix,
    prompt: &[u32],
) -> Result<(f32, f32)> {
    let last = prompt.len() as u32 - 1;
    let logits = network.logits(prefix, prompt, prompt.len(), &[last])?;
    let of = |word: &str| -> Result<f32> {
        Ok(logits.i((0, words.ids(word)?[0] as usize))?.to_scalar()?)
    };
    Ok((of("yes")?, of("no")?))
}

/// The likeliest answer to each prompt, equally many prompts for each picture.
pub(crate) fn answers(
    network: &Network,
    words: &Words,
    prefix: &Prefix,
    prompts: &[Vec<u32>],
) -> Result<Vec<String>> {
    let mut said: Vec<Vec<u32>> = vec![Vec::new(); prompts.len()];
    let mut ended = vec![false; prompts.len()];
    while ended.contains(&false) {
        let rows: Vec<Vec<u32>> = prompts
            .iter()
            .zip(&said)
            .map(|(p, s)| [&p[..], s].concat())
            .collect();
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        let places: Vec<u32> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| (i * length + row.len() - 1) as u32)
            .collect();
        let ids: Vec<u32> = rows
            .iter()
            .flat_map(|row| {
                row.iter()
                    .copied()
                    .chain(std::iter::repeat(END))
                    .take(length)
            })
            .collect();
        let logits = network
            .logits(prefix, &ids, length, &places)?
            .to_vec2::<f32>()?;
        for (i, logits) in logits
            .into_iter()
            .enumerate()
            .filter(|(i, _)| !ended[*i])
            .collect::<Vec<_>>()
        {
            let barred = |id: usize| !said[i].is_empty() && id == ANSWER as usize;
            let best = logits
                .iter()
                .enumerate()
                .filter(|(id, _)| !barred(*id))
                .max_by(|a, b| a.1.total_cmp(b.1));
            let best = best.map_or(END, |(id, _)| id as u32);
            if best != END {
                said[i].push(best);
            }
            ended[i] = best == END || said[i].len() == LONGEST;
        }
    }
    said.iter().map(|ids| words.text(ids)).collect()
}

/// The image prefix of some pictures.
pub(crate) fn prefix(network: &Network, shown: &[Views]) -> Result<Prefix> {
    let shown = pictures(shown, &network.config.vision)?;
    let features = network.encode(&shown.patches)?;
    let overviews = network.overviews(&features, &shown.grids)?;
    let embeddings = network.project(&features, &overviews, &shown.grids)?;
    Ok(network.prefix(&embeddings)?)
}

/// Asks about the pictures of one batch; right answers by kind, of questions that name no unseen pair and that do.
fn batch(
    network: &Network,
    words: &Words,
    number: u64,
    other_sizes: f64,
    mix: Mix,
) -> Result<[Tally; 2]> {
    let mut rng = StdRng::seed_from_u64(HELD_OUT | number);
    let vision = &network.config.vision;
    let scenes: Vec<Scene> = (0..PICTURES)
        .map(|_| {
            let size = size(&mut rng, vision.crop as u32, other_sizes);
            Scene::random(&mut rng, size, mix)
        })
        .collect();
    let mut open: Vec<Asked> = Vec::new();
    let mut closed: Vec<Asked> = Vec::new();
    for scene in &scenes {
        let (yes_no, other): (Vec<_>, Vec<_>) = questions::about(scene, QUESTIONS, mix, &mut rng)
            .into_iter()
            .partition(|asked| asked.kind.yes_no());
        closed.extend(yes_no);
        open.extend(other);
    }
    let shown = scenes
        .iter()
        .map(|scene| views(scene, vision))
        .collect::<Result<Vec<_>>>()?;
    let prefix = prefix(network, &shown)?;
    let mut tallies = [Tally::new(), Tally::new()];
    let mut count = |asked: &Asked, right: bool| {
        let (rights, all) = tallies[usize::from(asked.unseen)]
            .entry(asked.kind)
            .or_default();
        *rights += usize::from(right);
        *all += 1;
    };

    let prompts = |asked: &[Asked]| {
        asked
            .iter()
            .map(|asked| words.prompt(&asked.text))
            .collect::<Result<Vec<_>>>()
    };
    for (asked, answer) in open
        .iter()
        .zip(answers(network, words, &prefix, &prompts(&open)?)?)
    {
        count(asked, asked.answer == answer);
    }
    let prompts = prompts(&closed)?;
    let length = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    for prompt in &prompts {
        places.push((ids.len() + prompt.len() - 1) as u32);
        ids.extend(
            prompt
                .iter()
                .copied()
                .chain(std::iter::repeat(END))
                .take(length),
        );
    }
    let logits = network.logits(&prefix, &ids, length, &places)?;
    let (yes, no) = (words.ids("yes")?[0] as usize, words.ids("no")?[0] as usize);
    let says_yes = logits
        .i((.., yes))?
        .gt(&logits.i((.., no))?)?
        .to_vec1::<u8>()?;
    for (asked, says_yes) in closed.iter().zip(says_yes) {
        count(asked, (asked.answer == "yes") == (says_yes == 1));
    }
    Ok(tallies)
}

/// The tables of a model, as Markdown, over about `scenes` scenes a column.
pub(crate) fn table(network: &Network, scenes: usize) -> Result<String> {
    let words = Words::new()?;
    let batches = scenes.div_ceil(PICTURES) as u64;
    let run = |other_sizes: f64, mix: Mix| -> Result<[Tally; 2]> {
        let parts = (0..batches)
            .into_par_iter()
            .map(|number| batch(network, &words, number, other_sizes, mix))
            .collect::<Result<Vec<_>>>()?;
        let mut sums = [Tally::new(), Tally::new()];
        for (sum, tally) in parts.iter().flat_map(|part| (0..2).zip(part)) {
            for (kind, (right, all)) in tally {
                let entry = sums[sum].entry(*kind).or_default();
                *entry = (entry.0 + right, entry.1 + all);
            }
        }
        Ok(sums)
    };
    let [one_view, _] = run(0.0, Mix::Seen)?;
    let [other_sizes, _] = run(1.0, Mix::Seen)?;
    let [beside, unseen] = run(0.2, Mix::WithUnseen)?;
    let columns = [&one_view, &other_sizes, &unseen, &beside];
    let mut text =
        "| question | 112 x 112 | other sizes | names an unseen pair | beside an unseen pair |\n\
                    | --- | --- | --- | --- | --- |\n"
            .to_owned();
    let mut line = |name: &str, of: &dyn Fn(Kind) -> bool| {
        let _ = write!(text, "| {name} |");
        for tally in columns {
            let kinds = tally.iter().filter(|(kind, _)| of(**kind));
            let (right, all) =
                kinds.fold((0, 0), |sum, (_, entry)| (sum.0 + entry.0, sum.1 + entry.1));
            if all == 0 {
                text.push_str(" |");
            } else {
                let _ = write!(
                    text,
                    " {:.2} % of {all} |",
                    100.0 * right as f64 / all as f64
                );
            }
        }
        text.push('\n');
    };
    for kind in Kind::ALL {
        line(kind.name(), &|other| other == kind);
    }
    line("all yes or no", &Kind::yes_no);
    line("all open", &|kind| !kind.yes_no());
    Ok(text)
}
