//! The pages of a gallery, the same for every one: no build step, nothing from elsewhere.

/// Names and texts.
pub(super) const ASSETS: [(&str, &str); 10] = [
    ("index.html", include_str!("assets/index.html")),
    ("icon.svg", include_str!("assets/icon.svg")),
    ("gallery.css", include_str!("assets/gallery.css")),
    ("gallery-data.js", include_str!("assets/gallery-data.js")),
    (
        "gallery-corrections.js",
        include_str!("assets/gallery-corrections.js"),
    ),
    ("gallery-view.js", include_str!("assets/gallery-view.js")),
    ("gallery-large.js", include_str!("assets/gallery-large.js")),
    ("gallery-side.js", include_str!("assets/gallery-side.js")),
    (
        "gallery-address.js",
        include_str!("assets/gallery-address.js"),
    ),
    ("gallery.js", include_str!("assets/gallery.js")),
];
