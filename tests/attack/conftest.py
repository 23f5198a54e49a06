from tests.gateway.conftest import config, folder, gateway

__all__ = ["config", "folder", "gateway"]
