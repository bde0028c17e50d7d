#!/usr/bin/env bash
# What action.yml runs: installs cpuprobe from the action's own checkout, then checks files or assesses a
# text. Everything from outside is in variables and only ever used quoted.
set -euo pipefail

if [ -z "${CPUPROBE:-}" ]; then
    python3 -m venv "$RUNNER_TEMP/cpuprobe"
    "$RUNNER_TEMP/cpuprobe/bin/pip" install --quiet --disable-pip-version-check "$GITHUB_ACTION_PATH"
    CPUPROBE=$RUNNER_TEMP/cpuprobe/bin/cpuprobe
fi
file=$RUNNER_TEMP/cpuprobe.md
code=0

# Markdown with a text in it as it stands; the fence is longer than any that the text could hold.
fenced() {
    printf '%s\n' '``````````text'
    sed 's/``````````*/```/g'
    printf '%s\n' '``````````'
}

if [ -n "$ASSESS" ]; then
    printf '%s' "$ASSESS" > "$RUNNER_TEMP/cpuprobe-input"
    said=$(cd "$RUNNER_TEMP" && "$CPUPROBE" inspect - < cpuprobe-input 2>&1) || code=$?
    { echo "### cpuprobe inspect"; printf '%s\n' "$said" | fenced; } > "$file"
elif [ -n "$CHECK" ]; then
    files=()
    while IFS= read -r line; do
        [ -z "$line" ] || files+=("$line")
    done <<< "$CHECK"
    options=(--against "$AGAINST")
    [ -z "$ALLOW" ] || options+=(--allow "$ALLOW")
    while IFS= read -r line; do
        [ -z "$line" ] || options+=(--exclude "$line")
    done <<< "$EXCLUDE"
    "$CPUPROBE" check "${options[@]}" --format github -- "${files[@]}" || code=$?
    said=$("$CPUPROBE" check "${options[@]}" -- "${files[@]}" 2>&1) || true
    { echo "### cpuprobe check --against $AGAINST"; printf '%s\n' "$said" | fenced; } > "$file"
    if [ -n "$SARIF" ]; then
        "$CPUPROBE" check "${options[@]}" --format sarif -- "${files[@]}" > "$SARIF" || true
    fi
else
    echo "::error::cpuprobe: give it files to \`check\` or a text to \`assess\`"
    exit 2
fi

cat "$file" >> "${GITHUB_STEP_SUMMARY:-/dev/null}"
{ echo "code=$code"; echo "file=$file"; } >> "$GITHUB_OUTPUT"
# A text that cannot be read is an answer; files that do not fit end the job.
[ -n "$ASSESS" ] || exit "$code"
