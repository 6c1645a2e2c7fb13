//! One drawn shape: what it is called and which points it covers.
//!
//! It owns the geometry of shapes and the colours that a name stands for. Where shapes go is the scene's business.

use std::f32::consts::TAU;

use rand::Rng;
use rand::rngs::StdRng;

/// What an object is, in the order in which answers list objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    Circle,
    Square,
    Triangle,
    Star,
    Cross,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 5] = [
        Self::Circle,
        Self::Square,
        Self::Triangle,
        Self::Star,
        Self::Cross,
    ];

    /// The noun.
    pub fn name(self) -> &'static str {
        ["circle", "square", "triangle", "star", "cross"][self as usize]
    }

    /// The noun's plural.
    pub fn plural(self) -> &'static str {
        ["circles", "squares", "triangles", "stars", "crosses"][self as usize]
    }

    /// The corners of the shape with its outermost ones at distance 1 of the origin; empty for the circle.
    fn corners(self) -> Vec<(f32, f32)> {
        let at =
            |turn: f32, radius: f32| ((turn * TAU).sin() * radius, -(turn * TAU).cos() * radius);
        match self {
            Self::Circle => Vec::new(),
            Self::Square => (0..4).map(|i| at((i as f32 + 0.5) / 4.0, 1.0)).collect(),
            Self::Triangle => (0..3).map(|i| at(i as f32 / 3.0, 1.0)).collect(),
            Self::Star => (0..10)
                .map(|i| at(i as f32 / 10.0, if i % 2 == 0 { 1.0 } else { 0.42 }))
                .collect(),
            Self::Cross => {
                // Arms of 0.6 wide, their far corners at distance 1.
                let (half, reach) = (0.3_f32, (1.0 - 0.3_f32 * 0.3).sqrt());
                let arm = [(-half, -half), (-half, -reach), (half, -reach)];
                (0..4)
                    .flat_map(|quarter| {
                        let (sin, cos) = (quarter as f32 / 4.0 * TAU).sin_cos();
                        arm.map(|(x, y)| (x * cos - y * sin, x * sin + y * cos))
                    })
                    .collect()
            }
        }
    }
}

/// An object's colour by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    Red,
    Green,
    Blue,
    Yellow,
    Purple,
    Orange,
}

impl Colour {
    /// Every colour.
    pub const ALL: [Self; 6] = [
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Purple,
        Self::Orange,
    ];

    /// The adjective.
    pub fn name(self) -> &'static str {
        ["red", "green", "blue", "yellow", "purple", "orange"][self as usize]
    }

    /// An RGB colour that a person gives this name, 0..=1.
    fn sample(self, rng: &mut StdRng) -> [f32; 3] {
        // Hue in degrees with its jitter, and the darkest brightness at which the name still holds.
        let (hue, jitter, darkest) = [
            (0.0, 7.0, 0.62),
            (125.0, 18.0, 0.5),
            (222.0, 14.0, 0.6),
            (55.0, 4.0, 0.85),
            (282.0, 12.0, 0.5),
            (28.0, 5.0, 0.88),
        ][self as usize];
        let hue = (hue + rng.random_range(-jitter..=jitter) + 360.0) % 360.0;
        let saturation: f32 = rng.random_range(0.78..=1.0);
        let value: f32 = rng.random_range(darkest..=1.0);
        let channel = |offset: f32| {
            let k = (offset + hue / 60.0) % 6.0;
            value * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0))
        };
        [channel(5.0), channel(3.0), channel(1.0)]
    }
}

/// What an object looks like in words.
pub type Pair = (Colour, Shape);

/// One drawn shape; lengths in pixels.
#[derive(Debug, Clone)]
pub struct Object {
    pub colour: Colour,
    pub shape: Shape,
    pub(super) rgb: [f32; 3],
    pub(super) centre: (f32, f32),
    pub(super) radius: f32,
    corners: Vec<(f32, f32)>,
}

impl Object {
    pub(super) fn new(pair: Pair, centre: (f32, f32), radius: f32, rng: &mut StdRng) -> Self {
        let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
        let turned = |(x, y): (f32, f32)| {
            (
                centre.0 + radius * (x * cos - y * sin),
                centre.1 + radius * (x * sin + y * cos),
            )
        };
        Self {
            colour: pair.0,
            shape: pair.1,
            rgb: pair.0.sample(rng),
            centre,
            // A circle of a star's radius would look twice as large.
            radius: if pair.1 == Shape::Circle {
                radius * 0.85
            } else {
                radius
            },
            corners: pair.1.corners().into_iter().map(turned).collect(),
        }
    }

    /// Distance of a point from the outline, negative inside.
    pub(super) fn distance(&self, x: f32, y: f32) -> f32 {
        if self.corners.is_empty() {
            return (x - self.centre.0).hypot(y - self.centre.1) - self.radius;
        }
        let (mut nearest, mut inside) = (f32::MAX, false);
        let mut from = self.corners[self.corners.len() - 1];
        for &to in &self.corners {
            let (ex, ey) = (to.0 - from.0, to.1 - from.1);
            let (px, py) = (x - from.0, y - from.1);
            let along = ((px * ex + py * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0);
            let (dx, dy) = (px - ex * along, py - ey * along);
            nearest = nearest.min(dx * dx + dy * dy);
            if (from.1 > y) != (to.1 > y) && px < ex * py / ey {
                inside = !inside;
            }
            from = to;
        }
        if inside {
            -nearest.sqrt()
        } else {
            nearest.sqrt()
        }
    }
}
