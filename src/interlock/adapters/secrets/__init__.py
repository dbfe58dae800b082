"""Secrets in places of their own: the environment, files, programs, the system's keyring, HashiCorp Vault, AWS
Secrets Manager.

Owns: how each place is read, once per question, in about ten seconds at most. Refuses: keeping anything, and a shell.
Invariants: no error holds a part of a secret; a file that others can read is refused.
"""

from interlock.adapters.secrets.aws import AwsSecrets
from interlock.adapters.secrets.command import Commands, Run
from interlock.adapters.secrets.environment import Environment
from interlock.adapters.secrets.file import Files
from interlock.adapters.secrets.system_keyring import SystemKeyring
from interlock.adapters.secrets.vault import Ask, Vault

__all__ = ["Ask", "AwsSecrets", "Commands", "Environment", "Files", "Run", "SystemKeyring", "Vault"]
