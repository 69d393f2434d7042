#compdef enclave-broker
_enclave_broker_completion() {
    local -a found described
    local one name
    found=(${(f)"$(_ENCLAVE_BROKER_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS="${(j: :)words[1,CURRENT-1]} $PREFIX" $words[1] 2>/dev/null)"})
    [[ $PREFIX == --*=* ]] && compset -P '*='
    if (( ! $#found )); then
        _files
        return
    fi
    for one in $found; do
        name=${one%%$'\t'*}
        described+=("${name//:/\\:}${${one#$name}/$'\t'/:}")
    done
    _describe -V completion described
}

# Either a file of the fpath, loaded at the first Tab, or sourced.
if [[ $funcstack[1] == _enclave-broker ]]; then
    _enclave_broker_completion "$@"
else
    compdef _enclave_broker_completion enclave-broker
fi
