# The menu. Every recipe is a verb of `cargo xtask`, where the work is done.

# list the recipes
default:
    @just --list --unsorted

# tests and doctests: `just test`, `just test -p rollout`, `just test lock`
[group('inner loop')]
test *args:
    cargo xtask test {{ args }}

# format every crate; `just fmt --check` only complains
[group('inner loop')]
fmt *args:
    cargo xtask fmt {{ args }}

# clippy with warnings denied, and an honest rust-version
[group('inner loop')]
lint:
    cargo xtask lint

# the crates' arrows against layers.toml; `just layers --write-docs` writes the table
[group('structure')]
layers *args:
    cargo xtask layers {{ args }}

# house rules that no compiler knows
[group('structure')]
tidy:
    cargo xtask tidy

# API documentation with warnings denied
[group('structure')]
docs:
    cargo xtask docs

# licences, bans, sources and advisories of the dependencies
[group('structure')]
deny:
    cargo xtask deny

# recordings damaged at random, read and repaired; `just corrupt 100000` is thorough
[group('trust')]
corrupt *args:
    cargo xtask corrupt {{ args }}

# homes that are made to exhaust memory or time
[group('trust')]
hostile:
    cargo xtask hostile

# inputs that break a promise, looked for by libFuzzer (needs cargo-fuzz)
[group('trust')]
fuzz *args:
    cargo xtask fuzz {{ args }}

# writers killed at random, and a plain reader that looks for what is lost
[group('trust')]
crash *args:
    cargo xtask crash {{ args }}

# eight processes that work on one home at the same time
[group('trust')]
crowd *args:
    cargo xtask crowd {{ args }}

# the real Codex opens what Selvedge wrote (needs npm)
[group('trust')]
interop *args:
    cargo xtask interop {{ args }}

# stories played by a released Codex, recorded as samples for the tests (needs npm)
[group('trust')]
record *args:
    cargo xtask record {{ args }}

# the tokens that `stats` counts, beside those that ccusage counts (needs npm)
[group('trust')]
spent *args:
    cargo xtask spent {{ args }}

# one benchmark by name, or all; `just bench append --against HEAD~1` compares
[group('speed')]
bench *args:
    cargo xtask bench {{ args }}

# the pictures of the README; `just pictures FOLDER` makes pictures of all pages of the viewer, to be looked at
[group('structure')]
pictures *args:
    cargo xtask pictures {{ args }}

# everything that .ci/run runs
[group('gate')]
ci:
    cargo xtask ci
