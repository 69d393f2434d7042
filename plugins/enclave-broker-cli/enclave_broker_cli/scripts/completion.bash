# bash completion for enclave-broker
_enclave_broker_completion() {
    local line=${COMP_LINE:0:COMP_POINT} word=${COMP_WORDS[COMP_CWORD]} typed before found
    # For bash a word begins anew after each colon, which tool names hold, and equals sign.
    [[ $word == *[!:=]* ]] || word=
    typed=${line##*[[:blank:]]}
    before=${typed%"$word"}
    COMPREPLY=()
    while IFS= read -r found; do
        found=${found%%$'\t'*}
        [[ $found ]] || continue
        printf -v found %q "${found#"$before"}"
        COMPREPLY+=("$found")
    done < <(_ENCLAVE_BROKER_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=$line "$1" 2>/dev/null)
}

complete -o default -F _enclave_broker_completion enclave-broker
