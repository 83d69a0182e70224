"""The books that the reference model was trained and measured on: public domain, known by the hash of their text."""

from __future__ import annotations

from collections.abc import Mapping

_NOVELS = "computationalstylistics/100_english_novels@143e601, corpus/"
"""A corpus of public-domain novels on GitHub."""

SOURCES: Mapping[str, str] = {
    "cbronte_jane_1847.txt": f"Charlotte Brontë, Jane Eyre (1847); {_NOVELS}Cbronte_Jane_1847.txt",
    "conrad_nostromo_1904.txt": f"Joseph Conrad, Nostromo (1904); {_NOVELS}Conrad_Nostromo_1904.txt",
    "dickens_bleak_1853.txt": f"Charles Dickens, Bleak House (1853); {_NOVELS}Dickens_Bleak_1853.txt",
    "eliot_daniel_1876.txt": f"George Eliot, Daniel Deronda (1876); {_NOVELS}Eliot_Daniel_1876.txt",
    "gaskell_wives_1865.txt": f"Elizabeth Gaskell, Wives and Daughters (1865); {_NOVELS}Gaskell_Wives_1865.txt",
    "hardy_tess_1891.txt": f"Thomas Hardy, Tess of the d'Urbervilles (1891); {_NOVELS}Hardy_Tess_1891.txt",
    "james_tragic_1890.txt": f"Henry James, The Tragic Muse (1890); {_NOVELS}James_Tragic_1890.txt",
    "pg10321_dragons_blood.txt": "Project Gutenberg 10321, Dragon's Blood",
    "pg10356_travels_in_morocco_2.txt": "Project Gutenberg 10356, Travels in Morocco, volume 2",
    "pg2544_from_sand_hill_to_pine.txt": "Project Gutenberg 2544, From Sand Hill to Pine",
    "pg2600_war_and_peace.txt": "Project Gutenberg 2600, War and Peace",
    "pg27454_in_her_own_right.txt": "Project Gutenberg 27454, In Her Own Right",
    "pg2701_moby_dick.txt": "Project Gutenberg 2701, Moby Dick; Or, The Whale",
    "pg30312_carmen_ariza.txt": "Project Gutenberg 30312, Carmen Ariza",
    "wcollins_woman_1860.txt": f"Wilkie Collins, The Woman in White (1860); {_NOVELS}Wcollins_Woman_1860.txt",
    "woolf_night_1919.txt": f"Virginia Woolf, Night and Day (1919); {_NOVELS}Woolf_Night_1919.txt",
}
"""File name -> where the text comes from; of Project Gutenberg's files, without their header and licence block."""
