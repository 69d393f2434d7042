# fish completion for enclave-broker
function __enclave_broker_completion
    set -l found (env _ENCLAVE_BROKER_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=(commandline -cp) enclave-broker 2>/dev/null)
    if test -n "$found"
        # The word goes on from "--option=", and what is found does not begin with that.
        set -l before (string match --regex -- '^--[^=]+=' (commandline -ct))
        printf '%s\n' "$before"$found
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command enclave-broker --no-files --arguments '(__enclave_broker_completion)'
