import enclave_broker_memory
import pluggy
from enclave_broker_memory.config import MemoryStoreConfig

from enclave_broker_core import hookspecs
from enclave_broker_core.contracts import ALL_LOOPS, NoConfig


def test_the_plugin_offers_a_store_and_a_limiter() -> None:
    plugins = pluggy.PluginManager(hookspecs.PROJECT)
    plugins.add_hookspecs(hookspecs)
    plugins.register(enclave_broker_memory)
    plugins.check_pending()
    [[store]] = plugins.hook.enclave_session_stores()
    [[limiter]] = plugins.hook.enclave_limiters()
    assert (store.name, store.config_model, store.loops) == ("memory", MemoryStoreConfig, ALL_LOOPS)
    assert (limiter.name, limiter.config_model, limiter.loops) == ("memory", NoConfig, ALL_LOOPS)
