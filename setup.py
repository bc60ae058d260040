"""Packaging of sessioncore; the tools' settings are in pyproject.toml."""

from pathlib import Path

from setuptools import Extension, find_packages, setup

setup(
    name="sessioncore",
    version="0.1.0.dev0",
    description="A SIP/SDP/RTP session server and library for Twisted",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    # With a default editable install Twisted does not find the plugin; this makes it a path.
    package_dir={"": "."},
    packages=[
        *find_packages(include=["sessioncore", "sessioncore.*"]),
        "twisted.plugins",
    ],
    package_data={"sessioncore": ["py.typed"], "twisted": ["plugins/sessioncore_plugin.py"]},
    # Without a compiler the modules beside these do the same in Python.
    ext_modules=[
        Extension("sessioncore.media._plain", ["sessioncore/media/_plain.c"], optional=True),
        Extension("sessioncore.net._pump", ["sessioncore/net/_pump.c"], optional=True),
        Extension("sessioncore.sip._builder", ["sessioncore/sip/_builder.c"], optional=True),
        Extension(
            "sessioncore.sip._reader",
            ["sessioncore/sip/_reader.c"],
            depends=["sessioncore/_cursor.h"],
            optional=True,
        ),
        Extension(
            "sessioncore.sdp._description",
            ["sessioncore/sdp/_description.c"],
            depends=["sessioncore/_cursor.h"],
            optional=True,
        ),
    ],
    install_requires=[
        "twisted>=24.7",
        "attrs>=23.2",
        "zope.interface>=6",
        "numpy>=1.26",
    ],
    extras_require={
        "dev": [
            "G722",
            "setuptools>=70.1",
            "hypothesis",
            "ruff",
            "mypy",
            "mypy-zope",
            "build",
            "matplotlib",
            "prometheus_client",
            "pytest",
        ],
        "g722": ["G722"],
        "metrics": ["prometheus_client"],
        "plot": ["matplotlib"],
        "pytest": ["pytest>=7"],
    },
    entry_points={"console_scripts": ["sessioncore=sessioncore.cli:main"]},
    classifiers=[
        "Framework :: Twisted",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Communications :: Internet Phone",
        "Typing :: Typed",
    ],
)
