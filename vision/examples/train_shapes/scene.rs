//! Drawn scenes: one to three coloured shapes on a neutral background, from a seed.
//!
//! It owns what a scene is and how it becomes pixels. It knows nothing of questions, tokens or models, so that tests
//! can include this file alone and draw the pictures that they label.

use std::f32::consts::TAU;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

// The path is given so that a test can include this file from its own folder.
#[path = "figure.rs"]
mod figure;

pub use figure::{Colour, Object, Pair, Shape};

/// The pairs that no training scene has: what the model says of them it has put together by itself.
pub const UNSEEN: [Pair; 4] = [
    (Colour::Purple, Shape::Star),
    (Colour::Green, Shape::Cross),
    (Colour::Orange, Shape::Triangle),
    (Colour::Blue, Shape::Circle),
];

/// Which pairs a scene may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// None of [`UNSEEN`].
    Seen,
    /// At least one of [`UNSEEN`].
    WithUnseen,
}

/// A picture before it is drawn.
#[derive(Debug, Clone)]
pub struct Scene {
    pub width: u32,
    pub height: u32,
    /// One to three objects, no two of them alike, in the order in which answers list them.
    pub objects: Vec<Object>,
    background: [[f32; 3]; 2],
    /// Direction of the background's gradient.
    slope: (f32, f32),
    /// Largest change that noise makes to a channel, 0..=1.
    noise: f32,
    noise_seed: u32,
}

impl Scene {
    /// A scene of this size in pixels, both sides at least 60.
    pub fn random(rng: &mut StdRng, (width, height): (u32, u32), mix: Mix) -> Self {
        let pairs = pairs(rng, mix);
        let side = width.min(height) as f32;
        let (mut largest, mut placed) = (0.36, Vec::new());
        while placed.len() < pairs.len() {
            placed.clear();
            // Three large shapes may not fit: the next try takes smaller ones.
            largest = f32::max(largest * 0.97, 0.22);
            for _ in 0..20 * pairs.len() {
                let radius = side * rng.random_range(0.2..=largest);
                let x = rng.random_range(radius..=width as f32 - radius);
                let y = rng.random_range(radius..=height as f32 - radius);
                let apart = |&(ox, oy, other): &(f32, f32, f32)| {
                    (x - ox).hypot(y - oy) > radius + other + 0.02 * side
                };
                if placed.len() < pairs.len() && placed.iter().all(apart) {
                    placed.push((x, y, radius));
                }
            }
        }
        let mut objects: Vec<_> = pairs
            .into_iter()
            .zip(placed)
            .map(|(pair, (x, y, radius))| Object::new(pair, (x, y), radius, rng))
            .collect();
        objects.sort_by_key(|object| (object.shape, object.colour));

        let range = if rng.random_bool(0.5) {
            0.72..=1.0
        } else {
            0.0..=0.25
        };
        let tone = |rng: &mut StdRng| {
            let level: f32 = rng.random_range(range.clone());
            [0; 3].map(|_| (level + rng.random_range(-0.02..=0.02)).clamp(0.0, 1.0))
        };
        let from = tone(rng);
        let to = if rng.random_bool(0.5) {
            tone(rng)
        } else {
            from
        };
        let slope = rng.random_range(0.0..TAU).sin_cos();
        let noise = if rng.random_bool(0.4) {
            rng.random_range(0.01..=0.05)
        } else {
            0.0
        };
        Self {
            width,
            height,
            objects,
            background: [from, to],
            slope,
            noise,
            noise_seed: rng.random(),
        }
    }

    /// The same objects on plain black.
    pub fn on_black(self) -> Self {
        Self {
            background: [[0.0; 3]; 2],
            noise: 0.0,
            ..self
        }
    }

    /// The picture, `[height, width, 3]`, RGB; shapes have smooth edges.
    pub fn draw(&self) -> Vec<u8> {
        let (width, height) = (self.width as f32, self.height as f32);
        let mut state = self.noise_seed | 1;
        let mut data = Vec::with_capacity(self.width as usize * self.height as usize * 3);
        for row in 0..self.height {
            for column in 0..self.width {
                let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
                let along = (x / width - 0.5) * self.slope.0 + (y / height - 0.5) * self.slope.1;
                let share = (along / 1.42 + 0.5).clamp(0.0, 1.0);
                let mut rgb: [f32; 3] = std::array::from_fn(|c| {
                    self.background[0][c] * (1.0 - share) + self.background[1][c] * share
                });
                for object in &self.objects {
                    let reach = object.radius + 1.0;
                    if (x - object.centre.0).abs() > reach || (y - object.centre.1).abs() > reach {
                        continue;
                    }
                    let cover = (0.5 - object.distance(x, y)).clamp(0.0, 1.0);
                    for (channel, colour) in rgb.iter_mut().zip(object.rgb) {
                        *channel += (colour - *channel) * cover;
                    }
                }
                for channel in rgb {
                    // A xorshift generator: noise needs no better one, and it costs next to nothing.
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    let noise = (state as f32 / u32::MAX as f32 * 2.0 - 1.0) * self.noise;
                    data.push(((channel + noise).clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
                }
            }
        }
        data
    }

    /// For each cell of a `grid` x `grid` division of the picture, row by row, the object that covers the largest part
    /// of it, if any covers a sixth.
    pub fn owners(&self, grid: usize) -> Vec<Option<usize>> {
        const POINTS: usize = 4;
        let at = |cell: usize, point: usize, side: u32| {
            (cell as f32 + (point as f32 + 0.5) / POINTS as f32) * side as f32 / grid as f32
        };
        let covered = |object: &Object, row: usize, column: usize| {
            (0..POINTS * POINTS)
                .filter(|i| {
                    let x = at(column, i % POINTS, self.width);
                    let y = at(row, i / POINTS, self.height);
                    object.distance(x, y) < 0.0
                })
                .count()
        };
        (0..grid * grid)
            .map(|cell| {
                let counts = self
                    .objects
                    .iter()
                    .map(|object| covered(object, cell / grid, cell % grid));
                let best = counts.enumerate().max_by_key(|&(_, count)| count);
                best.filter(|&(_, count)| count * 6 >= POINTS * POINTS)
                    .map(|(index, _)| index)
            })
            .collect()
    }
}

/// One to three different pairs.
fn pairs(rng: &mut StdRng, mix: Mix) -> Vec<Pair> {
    let all = || {
        Shape::ALL
            .into_iter()
            .flat_map(|shape| Colour::ALL.map(|colour| (colour, shape)))
    };
    let count = rng.random_range(1..=3);
    let mut pairs: Vec<Pair> = match mix {
        Mix::Seen => all().filter(|pair| !UNSEEN.contains(pair)).collect(),
        Mix::WithUnseen => all().collect(),
    };
    pairs.shuffle(rng);
    if mix == Mix::WithUnseen
        && let Some(&first) = UNSEEN.choose(rng)
    {
        pairs.retain(|&pair| pair != first);
        pairs.insert(0, first);
    }
    // Often a second object shares the first one's shape or colour: only then does it matter which belongs to which.
    if count > 1 && rng.random_bool(0.4) {
        let first = pairs[0];
        let alike = |pair: &Pair| (pair.0 == first.0) != (pair.1 == first.1);
        if let Some(second) = pairs.iter().position(alike) {
            pairs.swap(1, second);
        }
    }
    pairs.truncate(count);
    pairs
}
