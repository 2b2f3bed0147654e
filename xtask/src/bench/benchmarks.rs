//! The benchmarks of the workspace.

/// A benchmark: `cargo bench -p <package> --bench <area>`. Those of one area belong together.
pub(super) struct Benchmark {
    pub(super) area: &'static str,
    pub(super) package: &'static str,
    /// Whether it has small fixed workloads, which `--against` compares.
    pub(super) has_workloads: bool,
}

pub(super) const BENCHMARKS: &[Benchmark] = &[
    Benchmark { area: "append", package: "selvedge-thread-manager", has_workloads: true },
    Benchmark { area: "context", package: "selvedge-thread-store-local", has_workloads: true },
    Benchmark { area: "fork", package: "selvedge-thread-store-local", has_workloads: true },
    Benchmark { area: "sync", package: "selvedge-thread-store-local", has_workloads: true },
    Benchmark { area: "index", package: "selvedge-state", has_workloads: true },
    Benchmark { area: "index", package: "selvedge-cli", has_workloads: true },
    Benchmark { area: "viewer", package: "selvedge-viewer", has_workloads: false },
];
