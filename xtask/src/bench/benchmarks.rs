//! The benchmarks of the workspace.

/// A benchmark: `cargo bench -p <package> --bench <area>`. Those of one area belong together.
pub(super) struct Benchmark {
    pub(super) area: &'static str,
    pub(super) package: &'static str,
}

pub(super) const BENCHMARKS: &[Benchmark] = &[
    Benchmark { area: "append", package: "selvedge-thread-manager" },
    Benchmark { area: "context", package: "selvedge-thread-store-local" },
    Benchmark { area: "fork", package: "selvedge-thread-store-local" },
    Benchmark { area: "sync", package: "selvedge-thread-store-local" },
    Benchmark { area: "index", package: "selvedge-state" },
    Benchmark { area: "index", package: "selvedge-cli" },
    Benchmark { area: "viewer", package: "selvedge-viewer" },
];
