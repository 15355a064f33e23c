"""The scenes of Places: complete, in order, and summed up as the formula says."""

import numpy as np
import pytest

from data.places365 import GROUPS, GROUPS_OF_KIND, KINDS, TABLE, Hierarchy, place_names, plain_name


@pytest.fixture(scope="module")
def hierarchy():
    return Hierarchy.load()


def test_names_stand_in_the_order_of_the_networks(hierarchy):
    names = hierarchy.names
    assert len(names) == len(set(names)) == 365
    # The list is sorted by name but for a few of its own making; ends and middle are known.
    assert (names[0], names[182], names[364]) == ("airfield", "hotel_room", "zen_garden")
    assert names == place_names()


def test_every_scene_is_in_a_group_and_every_group_has_scenes(hierarchy):
    assert hierarchy.groups.shape == (365, len(GROUPS))
    assert hierarchy.groups.any(axis=0).all()
    assert hierarchy.groups.any(axis=1).all()
    assert hierarchy.groups.sum(axis=1).max() <= 4


@pytest.mark.parametrize(
    ("scene", "kind"),
    [
        ("bedroom", "indoor"),
        ("subway_station/platform", "indoor"),
        ("mountain_snowy", "natural"),
        ("rainforest", "natural"),
        ("street", "urban"),
        ("castle", "urban"),
        ("harbor", "urban"),
    ],
)
def test_scenes_that_nobody_doubts(hierarchy, scene, kind):
    one = np.zeros((1, 365))
    one[0, hierarchy.names.index(scene)] = 1
    s3, s16 = hierarchy.sum_up(one)
    assert KINDS[s3[0].argmax()] == kind
    assert s3[0].max() == 1
    assert s16[0, GROUPS_OF_KIND[KINDS.index(kind)]].sum() == 1


def test_names_with_indoor_or_outdoor_are_so(hierarchy):
    for name, groups in zip(hierarchy.names, hierarchy.groups, strict=True):
        is_indoor = groups[GROUPS_OF_KIND[0]].any()
        if name.endswith("/indoor"):
            assert is_indoor, name
        if name.endswith(("/outdoor", "/exterior", "/natural", "/urban")):
            assert not is_indoor, name


def test_summing_up_is_the_formula(hierarchy):
    probabilities = np.random.default_rng(0).dirichlet(np.full(365, 0.05), 7)
    s3, s16 = hierarchy.sum_up(probabilities)
    for photo in range(7):
        kinds, groups = np.zeros(3), np.zeros(16)
        for scene in range(365):
            members = [g for g in range(16) if hierarchy.groups[scene, g]]
            its_kinds = {0 if g < 6 else 1 if g < 10 else 2 for g in members}
            for group in members:
                groups[group] += probabilities[photo, scene] / len(members)
            for kind in its_kinds:
                kinds[kind] += probabilities[photo, scene] / len(its_kinds)
        np.testing.assert_allclose(s3[photo], kinds)
        np.testing.assert_allclose(s16[photo], groups)
    np.testing.assert_allclose([s3.sum(axis=1), s16.sum(axis=1)], 1)


def test_the_published_sheet(hierarchy, tmp_path):
    """Its shape: two rows of titles, names in quotes with a letter before, 3 + 16 columns."""
    given = np.random.default_rng(1).integers(0, 2, (365, 16))
    given[:, 5] |= ~given.any(axis=1)
    lines = ["," + "Level 1,,," + ",".join(["Level 2"] * 16)]
    lines += ["category,indoor,natural,man-made," + ",".join(f'"g, {i}"' for i in range(16))]
    for name, groups in zip(hierarchy.names, given, strict=True):
        lines.append(f"'/{name[0]}/{name}',0,0,0," + ",".join(map(str, groups)))
    path = tmp_path / "sheet.csv"
    path.write_text("\n".join([*lines[:2], *reversed(lines[2:])]) + "\n")
    assert (Hierarchy.load(path).groups == given).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("1,airplane_cabin,3\n", ""), "airplane_cabin"),
        (lambda text: text.replace("airplane_cabin,3", "spaceship,3"), "airplane_cabin, spaceship"),
        (lambda text: text.replace("airplane_cabin,3", "airplane_cabin,"), "is in no group"),
        (lambda text: text.replace("airplane_cabin,3", "airplane_cabin"), "not a table"),
        (lambda _: "", "not a table"),
        (lambda _: "id,lat\n1,2\n", "it lacks"),
    ],
)
def test_tables_that_are_none(tmp_path, change, message):
    path = tmp_path / "table.csv"
    path.write_text(change(TABLE.read_text()))
    with pytest.raises(ValueError, match=message):
        Hierarchy.load(path)


@pytest.mark.parametrize(
    "text", ["/b/balcony/exterior", "'/b/balcony/exterior'", "Balcony/Exterior"]
)
def test_names_of_other_lists(text):
    assert plain_name(text) == "balcony/exterior"
