//! How much memory the process may use, and who says so.

use std::fmt;
use std::path::Path;

use super::{Settings, environment, parse_size, wrong};
use crate::error::Result;

/// What the process may use where nothing says otherwise: the function Lakefeed is made for.
const DEFAULT_BYTES: u64 = 512 << 20;

/// Who said how much memory the process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryOrigin {
    /// The command line's `--memory`.
    Flag,
    /// `memory` in `lakefeed.toml`.
    File,
    /// The variable `LAKEFEED_MEMORY`.
    Environment,
    /// AWS Lambda's setting, `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`.
    Function,
    /// The container's limit, where it is below the default.
    ControlGroup,
    /// Nobody.
    Default,
}

impl fmt::Display for MemoryOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "--memory",
            Self::File => "memory in lakefeed.toml",
            Self::Environment => "LAKEFEED_MEMORY",
            Self::Function => "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            Self::ControlGroup => "the control group's limit",
            Self::Default => "the default",
        })
    }
}

/// What the process may use, in bytes, and who says so; the first of [`MemoryOrigin`] that does.
///
/// # Errors
/// [`crate::error::ErrorKind::Configuration`] for a variable that is not a size.
pub fn memory_limit(flag: Option<u64>, settings: &Settings) -> Result<(u64, MemoryOrigin)> {
    choose(flag, settings, environment, || control_group_bytes(Path::new("/")))
}

fn choose(
    flag: Option<u64>,
    settings: &Settings,
    environment: impl Fn(&str) -> Option<String>,
    control_group_bytes: impl FnOnce() -> Option<u64>,
) -> Result<(u64, MemoryOrigin)> {
    if let Some(bytes) = flag {
        return Ok((bytes, MemoryOrigin::Flag));
    }
    if let Some(bytes) = settings.memory {
        return Ok((bytes, MemoryOrigin::File));
    }
    if let Some(text) = environment("LAKEFEED_MEMORY") {
        let bytes = parse_size(&text).map_err(|error| error.with_object("LAKEFEED_MEMORY"))?;
        return Ok((bytes, MemoryOrigin::Environment));
    }
    if let Some(text) = environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") {
        let bytes = text.parse::<u64>().ok().and_then(|megabytes| megabytes.checked_mul(1 << 20));
        let bytes = bytes.ok_or_else(|| {
            wrong(format!("{text:?} is not a number of megabytes"))
                .with_object("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
                .with_advice("set LAKEFEED_MEMORY instead")
        })?;
        return Ok((bytes, MemoryOrigin::Function));
    }
    Ok(match control_group_bytes() {
        Some(bytes) if bytes < DEFAULT_BYTES => (bytes, MemoryOrigin::ControlGroup),
        _ => (DEFAULT_BYTES, MemoryOrigin::Default),
    })
}

/// The least of the limits on the process's own control group and on all that it is in, version 2
/// and version 1. None on systems without control groups, or where nothing is limited.
///
/// Inside a container the group's path is often the host's and not there; the root is then the
/// container's own, and it is among the ancestors.
fn control_group_bytes(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for ancestor in Path::new(group.trim_start_matches('/')).ancestors() {
            let limit = std::fs::read_to_string(root.join(mount).join(ancestor).join(file)).ok();
            // An absent limit reads "max" in version 2, and as a number past all memory in 1.
            let bytes = limit.and_then(|limit| limit.trim().parse::<u64>().ok());
            least = least.into_iter().chain(bytes).min();
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_nearest_to_the_user_decides() {
        let settings = Settings { memory: Some(2), ..Settings::default() };
        let silent = Settings::default();
        let all = |name: &str| match name {
            "LAKEFEED_MEMORY" => Some("3MiB".to_owned()),
            _ => Some("4".to_owned()),
        };
        let lambda = |name: &str| all(name).filter(|_| name.starts_with("AWS_"));
        let none = |_: &str| None;
        let chosen = |flag, settings, environment: &dyn Fn(&str) -> Option<String>, group| {
            choose(flag, settings, environment, || group).unwrap()
        };
        assert_eq!(chosen(Some(1), &settings, &all, Some(5)), (1, MemoryOrigin::Flag));
        assert_eq!(chosen(None, &settings, &all, Some(5)), (2, MemoryOrigin::File));
        assert_eq!(chosen(None, &silent, &all, Some(5)), (3 << 20, MemoryOrigin::Environment));
        assert_eq!(chosen(None, &silent, &lambda, Some(5)), (4 << 20, MemoryOrigin::Function));
        assert_eq!(chosen(None, &silent, &none, Some(5)), (5, MemoryOrigin::ControlGroup));
        assert_eq!(chosen(None, &silent, &none, Some(1 << 40)), (512 << 20, MemoryOrigin::Default));
        assert_eq!(chosen(None, &silent, &none, None), (512 << 20, MemoryOrigin::Default));
    }

    #[test]
    fn a_variable_that_is_no_size_is_refused() {
        for name in ["LAKEFEED_MEMORY", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] {
            let environment = |asked: &str| (asked == name).then(|| "plenty".to_owned());
            let error = choose(None, &Settings::default(), environment, || None).unwrap_err();
            assert_eq!((error.kind(), error.object()), (ErrorKind::Configuration, Some(name)));
        }
    }

    #[test]
    fn the_least_limit_of_all_enclosing_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(control_group_bytes(root.path()), None);
        write("proc/self/cgroup", "1:cpu,memory:/docker/abc\n0::/slice/task\n");
        assert_eq!(control_group_bytes(root.path()), None);
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("sys/fs/cgroup/slice/task/memory.max", "max\n");
        assert_eq!(control_group_bytes(root.path()), Some(9_223_372_036_854_771_712));
        write("sys/fs/cgroup/slice/memory.max", "300\n");
        write("sys/fs/cgroup/slice/task/memory.max", "400\n");
        assert_eq!(control_group_bytes(root.path()), Some(300));
        write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "200\n");
        assert_eq!(control_group_bytes(root.path()), Some(200));
    }
}
