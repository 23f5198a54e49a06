from tests.gateway.conftest import api, config, folder, gateway

__all__ = ["api", "config", "folder", "gateway"]
