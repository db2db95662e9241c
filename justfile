# Short names for people who have `just`; everything works without it.

# Every check, set-up included.
verify *steps:
    cargo verify {{ if steps == "" { "" } else { "--only " + steps } }}

# The main job on three million flights.
demo *args:
    cargo demo {{ args }}

# A hub on this machine.
serve *args:
    cargo run --release --package headwater-hub --bin headwater -- serve {{ args }}

# Licences, advisories and sources of dependencies (needs cargo-deny).
deny:
    cargo deny check
