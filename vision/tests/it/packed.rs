//! What is computed together against the same computed alone, and quantised weights against f32's.
//!
//! On the CPU in f32 with both kinds of steps, with the small models of the goldens: how often numbers are added in another order depends on what
//! else is in a pass, so logits of a few units may differ by [`TOGETHER`], and ids not at all.

use candle_core::Device;
use picsift_vision::moondream::{Layout, Network, OverlapCrops, Prefix, Request, Squash, Stage};
use picsift_vision::transformer::{Format, Units};
use picsift_vision::{CropPolicy, Generation, Preprocessor, Quantization, Temperature, Views};

use crate::golden_data::{Golden, folders, prompts};
use crate::moondream::{network, networks, networks_of_few_crops, views};

/// Largest difference of a logit that may come of other things being computed beside it.
const TOGETHER: f32 = 1e-4;

fn encode(network: &Network, images: &[&Views]) -> Prefix {
    network.encode(images, &mut |_, _| {}).unwrap()
}

/// Pictures with different numbers of views: many, one, one.
fn pictures(golden: &Golden) -> [&'static str; 3] {
    match golden.layout() {
        Layout::V2025 => ["a03", "a02", "a06"],
        Layout::V2024 => ["a16", "a02", "a05"],
    }
}

/// A row of logits for each question about each image.
fn logits(network: &Network, prefix: &Prefix, questions: &[&[u32]]) -> Vec<Vec<f32>> {
    let logits = network.logits(Some(prefix), questions, None);
    logits.unwrap().to_vec2().unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| if d > most || d.is_nan() { d } else { most })
}

#[track_caller]
fn assert_close(together: &[f32], alone: &[f32], what: &str) {
    let difference = largest_difference(together, alone);
    assert!(difference <= TOGETHER, "{what} differs by {difference}");
}

fn slices(questions: &[Vec<u32>]) -> Vec<&[u32]> {
    questions.iter().map(Vec::as_slice).collect()
}

fn highest(logits: &[f32]) -> usize {
    let ids = logits.iter().enumerate();
    ids.max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
}

/// Questions that need more than one pass: all of the longest one's words, in other orders.
fn many(golden: &Golden) -> Vec<Vec<u32>> {
    let longest = prompts(golden).pop().unwrap();
    (0..110)
        .map(|turn| {
            let mut question = longest.clone();
            let words = 4..longest.len() - 4;
            let shift = turn % words.len();
            question[words.clone()].rotate_left(shift);
            // From the second round on, a word less.
            question.remove(words.start + turn / words.len());
            question
        })
        .collect()
}

#[test]
fn questions_asked_together_get_the_logits_that_they_get_alone() {
    for (golden, network) in networks() {
        let prefix = encode(&network, &[&views(&golden, &network, "a02")]);
        let mut questions = prompts(&golden);
        // One again, one that another begins with, and one of a single token.
        questions.push(questions[0].clone());
        questions.push(questions[2][..5].to_vec());
        questions.push(vec![questions[1][3]]);
        let questions = slices(&questions);
        let together = logits(&network, &prefix, &questions);
        assert_close(&together[questions.len() - 3], &together[0], "one again");
        for (index, question) in questions.iter().enumerate() {
            let alone = logits(&network, &prefix, &[question]).remove(0);
            assert_close(&together[index], &alone, &format!("question {index}"));
            let before = &together[index.saturating_sub(1)];
            let other = largest_difference(before, &alone);
            assert!(
                index == 0 || other > 100.0 * TOGETHER,
                "question {index}: {other}"
            );
        }
    }
}

#[test]
fn questions_of_several_passes_get_what_they_get_alone() {
    for (golden, network) in networks() {
        let prefix = encode(&network, &[&views(&golden, &network, "a02")]);
        let questions = many(&golden);
        let questions = slices(&questions);
        let mut seen = 0;
        let together = network
            .logits(
                Some(&prefix),
                &questions,
                Some(&mut |stage, _| {
                    seen += usize::from(stage == Stage::TextBlock);
                }),
            )
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        let passes = seen / (network.config().text.layers + 1);
        assert!(passes >= 3, "{passes} passes");
        assert_eq!(together.len(), questions.len());
        let generation = Generation {
            max_tokens: 2,
            ..Generation::default()
        };
        let requests: Vec<Request<'_>> = questions
            .iter()
            .map(|tokens| Request { tokens, generation })
            .collect();
        let answers = network
            .generate(&prefix, &requests, &[0])
            .unwrap()
            .remove(0);
        assert_eq!(answers.len(), questions.len());
        for index in (0..questions.len()).step_by(9) {
            let alone = logits(&network, &prefix, &questions[index..=index]).remove(0);
            assert_close(&together[index], &alone, &format!("question {index}"));
            let request = &requests[index..=index];
            let alone = network.generate(&prefix, request, &[0]).unwrap().remove(0);
            assert_eq!(answers[index], alone[0], "question {index}");
        }
    }
}

#[test]
fn images_read_together_get_what_they_get_alone() {
    const SEEDS: [u64; 3] = [7, 8, 9];
    for (golden, network) in networks_of_few_crops() {
        let images = pictures(&golden).map(|id| views(&golden, &network, id));
        let count = images.each_ref().map(Views::count);
        assert!(count[0] > count[1], "{count:?}");
        let together = encode(&network, &images.each_ref());
        assert_eq!(together.images(), images.len());
        let questions = prompts(&golden);
        let questions = slices(&questions);
        let request = |tokens, temperature: f32| Request {
            tokens,
            generation: Generation {
                max_tokens: 8,
                temperature: Temperature::try_from(temperature).unwrap(),
            },
        };
        // Two questions as likely as possible, two at random.
        let requests: Vec<Request<'_>> = questions
            .iter()
            .zip([0.0, 0.0, 1.0, 1.0])
            .map(|(tokens, temperature)| request(tokens, temperature))
            .collect();
        let scores = logits(&network, &together, &questions);
        let answers = network.generate(&together, &requests, &SEEDS).unwrap();
        let other = [70, 80, 90];
        let others = network.generate(&together, &requests, &other).unwrap();
        for (image, views) in images.iter().enumerate() {
            let alone = encode(&network, &[views]);
            let rows = image * questions.len()..(image + 1) * questions.len();
            for (index, (row, alone)) in scores[rows]
                .iter()
                .zip(logits(&network, &alone, &questions))
                .enumerate()
            {
                assert_close(row, &alone, &format!("image {image} question {index}"));
            }
            for (index, request) in requests.iter().enumerate() {
                let place = format!("image {image} question {index}");
                let single = network
                    .generate(&alone, std::slice::from_ref(request), &SEEDS[image..=image])
                    .unwrap();
                assert_eq!(answers[image][index], single[0][0], "{place}");
                let at_random = request.generation.temperature.get() > 0.0;
                let differs = answers[image][index] != others[image][index];
                assert_eq!(differs, at_random, "{place} with another seed");
            }
        }
    }
}

#[test]
fn the_overview_alone_is_one_view_and_says_something_else() {
    for (golden, network) in networks_of_few_crops() {
        let id = pictures(&golden)[0];
        let (vision, policy) = (&network.config().vision, CropPolicy::Global);
        let global = match golden.layout() {
            Layout::V2025 => OverlapCrops::new(vision, policy).views(golden.rgb(id)),
            Layout::V2024 => Squash::new(vision, policy).views(golden.rgb(id)),
        }
        .unwrap();
        assert_eq!((global.count(), global.grid), (1, (1, 1)));
        let reference = views(&golden, &network, id);
        assert!(reference.count() > 1);
        let questions = prompts(&golden);
        let [global, reference] = [&global, &reference]
            .map(|views| logits(&network, &encode(&network, &[views]), &slices(&questions)));
        for (global, reference) in global.iter().zip(&reference) {
            assert!(largest_difference(global, reference) > 100.0 * TOGETHER);
        }
    }
}

#[test]
fn what_reaches_beyond_the_context_is_an_error() {
    for (golden, network) in networks() {
        let prefix = encode(&network, &[&views(&golden, &network, "a06")]);
        let context = network.config().text.context;
        let room = context - prefix.tokens();
        let word = prompts(&golden)[0][4];
        let fits = vec![word; room];
        let ask = |question: &[u32]| network.logits(Some(&prefix), &[question], None);
        ask(&fits).unwrap();
        let error = ask(&vec![word; room + 1]).unwrap_err().to_string();
        assert!(error.contains(&format!("context of {context}")), "{error}");

        let answer = |max_tokens| {
            let generation = Generation {
                max_tokens,
                ..Generation::default()
            };
            let tokens = &fits;
            network.generate(&prefix, &[Request { tokens, generation }], &[0])
        };
        assert_eq!(answer(1).unwrap()[0][0].as_ref().unwrap().len(), 1);
        let error = answer(2).unwrap_err().to_string();
        assert!(error.contains(&format!("context of {context}")), "{error}");

        let error = ask(&[]).unwrap_err().to_string();
        assert!(error.contains("without tokens"), "{error}");
    }
}

#[test]
fn quantised_weights_are_smaller_and_say_nearly_the_same() {
    for golden in folders() {
        if golden.layout() == Layout::V2024 {
            continue;
        }
        let exact = network(&golden, &Format::new(&Device::Cpu, None, None));
        let images = ["a02", "a06", "a07"].map(|id| views(&golden, &exact, id));
        let questions = prompts(&golden);
        let questions = slices(&questions);
        let ask =
            |network: &Network| logits(network, &encode(network, &images.each_ref()), &questions);
        let expected = ask(&exact);
        // Of logits up to 8.6, the largest differences were 0.49 and 4.0: random weights have no shares to spare, so that 4
        // bits for all of them show; the likeliest token is the same for this part of the questions.
        let mut cases = vec![(Quantization::Q4K, Units::best(), 5.0, 0.4)];
        cases.extend(Units::of_this_machine().map(|units| (Quantization::Q8_0, units, 0.6, 0.75)));
        for (quantize, units, tolerance, alike) in cases {
            let format = Format::new(&Device::Cpu, None, Some(quantize)).with_units(units);
            let network = network(&golden, &format);
            assert!(network.weight_bytes() < exact.weight_bytes());
            let found = ask(&network);
            let (mut worst, mut agree) = (0.0_f32, 0);
            for (found, expected) in found.iter().zip(&expected) {
                worst = worst.max(largest_difference(found, expected));
                agree += usize::from(highest(found) == highest(expected));
            }
            println!(
                "{quantize} {units}: {worst} of {:?}, {agree} of {}",
                expected[0].iter().copied().fold(0.0, f32::max),
                expected.len()
            );
            assert!(
                worst > 0.0 && worst <= tolerance,
                "{quantize} {units} differs by {worst}"
            );
            assert!(
                agree as f64 >= expected.len() as f64 * alike,
                "{quantize} {units}: {agree} of {}",
                expected.len()
            );
        }
    }
}
