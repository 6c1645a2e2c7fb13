//! Folders that cannot be renamed, because a file system is mounted there (`docker -v`).

use std::path::Path;

/// Whether a file system is mounted at the folder `path`, which is there. Where the system does not say, a folder on another device
/// than the one above it is taken for such a one.
pub(super) fn is_mounted(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    listed(&path) || other_device(&path)
}

/// In Linux's list of mounts; a folder of the same disk that is mounted a second time is only there.
fn listed(path: &Path) -> bool {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else {
        return false;
    };
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    places.any(|place| Path::new(&unescaped(place)) == path)
}

/// The list writes blanks, tabs, line feeds and backslashes as a backslash and three octal digits.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut all = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                all.push(char::from(code));
                all.push_str(&part[3..]);
            }
            None => {
                all.push('\\');
                all.push_str(part);
            }
        }
    }
    all
}

#[cfg(unix)]
fn other_device(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| path.metadata().ok().map(|found| found.dev());
    path.parent()
        .is_some_and(|above| device(path) != device(above))
}

#[cfg(not(unix))]
fn other_device(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_the_list_are_read() {
        assert_eq!(unescaped(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescaped("/plain"), "/plain");
        assert_eq!(unescaped(r"/odd\9"), r"/odd\9");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_is_mounted_where_its_root_is() {
        assert!(is_mounted(Path::new("/proc")));
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_mounted(folder.path()));
        assert!(!is_mounted(&folder.path().join("nothing")));
    }
}
