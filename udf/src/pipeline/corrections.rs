//! What people said of images, in the place of what a model says.
//!
//! A correction is about an image, by its [`ImageKey`](crate::pipeline::image_key::ImageKey), and about a category, by its name. It knows no
//! files and no columns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pipeline::image_key::DIGEST_PREFIX;

/// Corrections by image. Its size is that of what people wrote; it does not grow.
#[derive(Debug, Default)]
pub struct Corrections {
    by_key: HashMap<String, OfImage>,
    has_digests: bool,
}

#[derive(Debug, Default)]
struct OfImage {
    /// Category and whether it holds, each category once.
    said: Vec<(String, bool)>,
    met: AtomicBool,
}

impl Corrections {
    /// Of each key and category the last.
    pub fn new(all: impl IntoIterator<Item = (String, String, bool)>) -> Self {
        let mut by_key: HashMap<String, OfImage> = HashMap::new();
        for (key, category, holds) in all {
            let said = &mut by_key.entry(key).or_default().said;
            match said.iter_mut().find(|(known, _)| *known == category) {
                Some((_, known)) => *known = holds,
                None => said.push((category, holds)),
            }
        }
        let has_digests = by_key.keys().any(|key| key.starts_with(DIGEST_PREFIX));
        Self {
            by_key,
            has_digests,
        }
    }

    /// Whether an image without a name can have one.
    pub fn has_digests(&self) -> bool {
        self.has_digests
    }

    /// Whether there is one about this image.
    pub fn contains(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// What was said of the image's categories: empty where nothing was, else for each of `names` what was said, if anything.
    pub fn said(&self, key: &str, names: &[String]) -> Vec<Option<bool>> {
        let Some(of_image) = self.by_key.get(key) else {
            return Vec::new();
        };
        of_image.met.store(true, Ordering::Relaxed);
        let said = names.iter().map(|name| {
            let mut all = of_image.said.iter();
            all.find_map(|(category, holds)| (category == name).then_some(*holds))
        });
        let said: Vec<_> = said.collect();
        match said.iter().all(Option::is_none) {
            true => Vec::new(),
            false => said,
        }
    }

    /// Images that there are corrections for.
    pub fn images(&self) -> usize {
        self.by_key.len()
    }

    /// How many of them have come up.
    pub fn met(&self) -> usize {
        let met = |of: &&OfImage| of.met.load(Ordering::Relaxed);
        self.by_key.values().filter(met).count()
    }

    /// Key, category and whether it holds, sorted.
    pub fn all(&self) -> Vec<(&str, &str, bool)> {
        let mut all: Vec<_> = self
            .by_key
            .iter()
            .flat_map(|(key, of)| {
                let said = of.said.iter();
                said.map(|(category, holds)| (key.as_str(), category.as_str(), *holds))
            })
            .collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_an_image_and_a_category_holds() {
        let of = |key: &str, category: &str, holds| (key.to_string(), category.to_string(), holds);
        let corrections = Corrections::new([
            of("a.jpg", "dog", true),
            of("a.jpg", "cat", true),
            of("a.jpg", "dog", false),
            of("b.jpg", "cow", true),
        ]);
        let names = ["cat".to_string(), "bird".to_string(), "dog".to_string()];
        assert_eq!(
            corrections.said("a.jpg", &names),
            [Some(true), None, Some(false)]
        );
        assert_eq!(corrections.said("b.jpg", &names), []);
        assert_eq!(corrections.said("c.jpg", &names), []);
        assert_eq!((corrections.images(), corrections.met()), (2, 2));
        assert_eq!(corrections.all()[0], ("a.jpg", "cat", true));
    }
}
